package tokencache

// byHome is what there is on some homes: few, so a list is looked through faster than a map
// is, and takes less room.
type byHome[V any] []onHome[V]

type onHome[V any] struct {
	home string
	it   V
}

// on gives what is on a home, to look at or to change until something is put or dropped;
// nil: nothing.
func (b byHome[V]) on(home string) *V {
	for i := range b {
		if b[i].home == home {
			return &b[i].it
		}
	}
	return nil
}

// at is what is on a home; the zero value when nothing is.
func (b byHome[V]) at(home string) (v V) {
	if found := b.on(home); found != nil {
		v = *found
	}
	return v
}

func (b *byHome[V]) put(home string, v V) {
	if found := b.on(home); found != nil {
		*found = v
		return
	}
	*b = append(*b, onHome[V]{home, v})
}

// drop takes out what is on the homes that which says.
func (b *byHome[V]) drop(which func(home string, v *V) bool) {
	kept := (*b)[:0]
	for i := range *b {
		if !which((*b)[i].home, &(*b)[i].it) {
			kept = append(kept, (*b)[i])
		}
	}
	clear((*b)[len(kept):])
	*b = kept
}
