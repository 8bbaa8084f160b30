package routing

import "slices"

func database() []row {
	const reopens = "reopens the plugin of the node that answers"
	return slices.Concat(
		replicated("config/*", "roles/*", "static-roles/*"),
		credentials(Read, "creds/+"),
		each(row{verbs: Update, class: Nearest, why: reopens}, "reset/+", "reload/+"),
		each(row{verbs: Update, class: Primary, why: "rotation changes replicated storage"}, "rotate-root/+", "rotate-role/+"),
		[]row{
			{path: "static-creds/+", verbs: Read, class: Nearest, effect: Repeatable, why: "reads the replicated password"},
			{path: "static-roles/+", verbs: Update, class: Primary, direct: true, why: outsideFirst},
		},
	)
}
