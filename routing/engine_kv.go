package routing

import "slices"

func kvV1() []row { return kv("*") }

const notVersioned = "not a kv version 2 path: answered 404 everywhere"

func kvV2() []row {
	return slices.Concat(
		kv("data/*", "metadata/*", "config", "subkeys/*"),
		each(row{verbs: writes, class: Primary, why: "kv write"}, "delete/*", "undelete/*", "destroy/*"),
		[]row{
			{path: "*", verbs: reads, class: Nearest, effect: Repeatable, why: notVersioned},
			{path: "*", verbs: writes, class: Nearest, why: notVersioned}, // once: the mount may be another by now
		},
	)
}

// kv are paths at which reads read and writes write.
func kv(paths ...string) []row {
	return slices.Concat(
		each(row{verbs: reads, class: Nearest, effect: Repeatable, why: "kv read"}, paths...),
		each(row{verbs: writes, class: Primary, why: "kv write"}, paths...),
	)
}
