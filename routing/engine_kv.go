package routing

import "slices"

func kvV1() []row { return kv("*") }

func kvV2() []row {
	return slices.Concat(
		kv("data/*", "metadata/*", "config", "subkeys/*"),
		each(row{verbs: writes, class: Primary, why: "kv write"}, "delete/*", "undelete/*", "destroy/*"),
		[]row{{path: "*", verbs: all, class: Nearest, effect: Repeatable, why: "not a kv version 2 path: answered 404 everywhere"}},
	)
}

// kv are paths at which reads read and writes write.
func kv(paths ...string) []row {
	return slices.Concat(
		each(row{verbs: reads, class: Nearest, effect: Repeatable, why: "kv read"}, paths...),
		each(row{verbs: writes, class: Primary, why: "kv write"}, paths...),
	)
}
