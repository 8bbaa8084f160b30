package configs

import (
	"net/netip"
	"time"
)

// Default returns the configuration of a file that says nothing. It is not
// valid: region and clusters have no default.
func Default() *Config {
	return &Config{
		Listeners: []Listener{{Address: DefaultListenAddress, Identity: UseNever}},
		Sessions:  Sessions{Replay: true, Max: 10000, Prewarm: true, LoginRate: 100, Idle: time.Hour},
		Routing: Routing{
			Writes:        WritesPrimary,
			LatencyWindow: 15 * time.Millisecond,
			PrimaryDown:   PrimaryDownWait,
			PrimaryWait:   10 * time.Second,
			MaxInFlight:   1024,
			Consistency:   ConsistencySession,

			ConsistencyMechanism: MechanismAuto,
		},
		Limits: Limits{
			Connections: 10000, InFlight: 4096, RepeatBody: 64 << 10,
			HeaderBytes: 64 << 10, HeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
		},
		Connections: Connections{PerNode: 1024, IdlePerNode: 256, IdleTimeout: 90 * time.Second, Lifetime: 5 * time.Minute, HTTP2: true},
		Health:      Health{Interval: 2 * time.Second, Timeout: time.Second, Fall: 3, Rise: 2},
		Admin:       Admin{Address: DefaultAdminAddress},
		Shutdown:    Shutdown{DrainTimeout: 30 * time.Second},
		Log:         Log{Level: LogInfo, Format: LogJSON},
	}
}

// setDefaults fills a dns block that was given without any key.
func (d *DNS) setDefaults() {
	*d = DNS{
		Address: DefaultDNSAddress,
		Zone:    DefaultDNSZone,
		TTL:     5 * time.Second,
		Forward: []string{"/etc/resolv.conf"},

		NegativeTTL: 5 * time.Second,
		CacheSize:   4096,
		ServeStale:  time.Hour,
		RateLimit:   1000,

		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
}

// setDefaults fills a tracing block.
func (t *Tracing) setDefaults() { t.Sample = 1 }

// setDefaults fills an identity block that was given without any key.
func (i *Identity) setDefaults() { i.Use = UseFallback }
