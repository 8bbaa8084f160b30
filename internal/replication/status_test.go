package replication

import (
	"encoding/json"
	"testing"
	"time"
)

const secondary = `{"request_id":"r","data":{"dr":{"mode":"disabled"},"performance":{
	"cluster_id":"set-1","connection_state":"ready","known_primary_cluster_addrs":["https://10.0.0.1:8201"],
	"last_reindex_epoch":"0","last_remote_wal":120,"mode":"secondary","secondary_id":"eu","state":"stream-wals",
	"primaries":[{"api_address":"https://10.0.0.1:8200","cluster_address":"https://10.0.0.1:8201","connection_status":"connected",
	"last_heartbeat":"2025-11-18T13:04:32Z","last_heartbeat_duration_ms":"1","clock_skew_ms":"-3","replication_primary_canary_age_ms":"1500"}]}}}`

func TestDecodeSecondary(t *testing.T) {
	t.Parallel()
	s, err := Decode([]byte(secondary))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Performance
	if s.DR.Mode != ModeDisabled || p.Mode != ModeSecondary || p.State != StateStreaming || p.ClusterID != "set-1" || p.SecondaryID != "eu" {
		t.Errorf("%+v", s)
	}
	if !p.Linked() || p.CanaryAge() != 1500*time.Millisecond || p.LastRemoteWAL != (Number{120, true}) || p.LastWAL.Known {
		t.Errorf("linked %v, canary %v, wal %+v, last wal %+v", p.Linked(), p.CanaryAge(), p.LastRemoteWAL, p.LastWAL)
	}
	if len(p.KnownPrimaryAddrs) != 1 || p.Primaries[0].APIAddress != "https://10.0.0.1:8200" || p.Primaries[0].ClockSkewMS.Value != -3 {
		t.Errorf("%+v", p)
	}
}

func TestDecodePrimary(t *testing.T) {
	t.Parallel()
	s, err := Decode([]byte(`{"data":{"performance":{"mode":"primary","state":"running","cluster_id":"set-1","known_secondaries":["eu","us"],
		"last_performance_wal":"130","last_wal":131,"secondaries":[{"api_address":"https://10.1.0.1:8200","connection_status":"connected","replication_primary_canary_age_ms":20}]},
		"dr":{"mode":"primary","last_dr_wal":7}}}`))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Performance
	if p.Mode != ModePrimary || p.LastPerformanceWAL != (Number{130, true}) || p.LastWAL != (Number{131, true}) || s.DR.LastDRWAL != (Number{7, true}) {
		t.Errorf("%+v", s)
	}
	if len(p.KnownSecondaries) != 2 || p.Secondaries[0].CanaryAgeMS != (Number{20, true}) || p.Linked() || p.CanaryAge() >= 0 {
		t.Errorf("a primary is linked to nobody and has no lag: %+v", p)
	}
}

func TestDecodeDisabled(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"data":{"mode":"disabled"}}`, `{"data":{"dr":{"mode":"disabled"},"performance":{"mode":"disabled"}}}`, `{"data":{}}`, `{}`} {
		s, err := Decode([]byte(body))
		if err != nil || s.Performance.Mode != ModeDisabled || s.DR.Mode != ModeDisabled || s.Performance.Linked() {
			t.Errorf("%s: %+v, %v", body, s, err)
		}
	}
	for _, body := range []string{``, `<html>`, `{"data":[]}`} {
		if _, err := Decode([]byte(body)); err == nil {
			t.Errorf("%q was taken for a status", body)
		}
	}
}

func TestNumbersComeInManyShapes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Number{
		`5`: {5, true}, `"5"`: {5, true}, `-1`: {-1, true}, `"-62135596800"`: {-62135596800, true}, `1.5e3`: {1500, true},
		`null`: {}, `""`: {}, `"soon"`: {}, `true`: {}, `{}`: {}, `[1]`: {},
	} {
		var got Number
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestLinked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		mode Mode
		want bool
	}{
		{"ready", Mode{Mode: ModeSecondary, State: StateStreaming, ConnectionState: "ready"}, true},
		{"connecting", Mode{Mode: ModeSecondary, State: StateStreaming, ConnectionState: "connecting"}, false},
		{"lost", Mode{Mode: ModeSecondary, State: "idle", ConnectionState: "transient_failure"}, false},
		{"an old version that does not tell, streaming", Mode{Mode: ModeSecondary, State: StateStreaming}, true},
		{"an old version that does not tell, idle", Mode{Mode: ModeSecondary, State: "idle"}, false},
		{"no state at all", Mode{Mode: ModeSecondary}, false},
		{"a primary", Mode{Mode: ModePrimary, ConnectionState: "ready"}, false},
	} {
		if got := c.mode.Linked(); got != c.want {
			t.Errorf("%s: linked %v", c.name, got)
		}
	}
}
