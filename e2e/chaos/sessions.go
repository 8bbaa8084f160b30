package chaos

import (
	"net/http"
	"strconv"
)

// session is what a client has to find of one of its own keys.
type session struct {
	floor int          // the newest that it wrote for certain, or read
	lossy map[int]bool // what Vault may have lost with a change of the primary
}

// sessions checks that each client reads its own writes, and never goes back in time. The
// events of a client are in the order in which it sent them.
func (f *findings) sessions(events []event, x *trouble) {
	of := make(map[string]*session)
	for _, e := range events {
		if e.op != "own write" && e.op != "own read" {
			continue
		}
		s := of[e.key]
		if s == nil {
			s = &session{lossy: make(map[int]bool)}
			of[e.key] = s
		}
		value, _ := strconv.Atoi(e.value) // 0: not there
		switch {
		case e.op == "own write":
			s.lossy[value] = x.lossy(e.began, e.ended)
			if e.status == http.StatusOK && !s.lossy[value] {
				s.floor = value
			}
		case e.status != http.StatusOK && e.status != http.StatusNotFound:
			if e.status == http.StatusPreconditionFailed {
				f.stale++
			}
		case value < s.floor:
			f.wrong("the session had %d before: %v reads %d", s.floor, e, value)
		case !s.lossy[value]:
			s.floor = value
		}
		if e.op == "own read" {
			f.ownReads++
			if e.cluster == "eu-west" {
				f.ownNear++
			}
		}
	}
}
