// Package manifests tests what is deployed to Kubernetes, without a cluster: the
// kustomize overlays and the chart are rendered, decoded strictly by Kubernetes' own
// types, judged by its own PodSecurity admission, and their configurations are checked by
// vrproxy. It is nothing but tests.
package manifests
