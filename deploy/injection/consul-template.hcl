# consul-template beside a sidecar, or on a machine with a proxy: no token is needed where
# the listener lends its identity. Leases are renewed through the proxy.
vault {
  address                = "http://127.0.0.1:8200"
  renew_token            = false
  default_lease_duration = "60s"

  # The proxy repeats what may be repeated; these are for its own restarts.
  retry {
    enabled     = true
    attempts    = 12
    backoff     = "250ms"
    max_backoff = "10s"
  }
}

template {
  contents    = "{{ with secret \"database/creds/readonly\" }}{{ .Data.username }}:{{ .Data.password }}{{ end }}"
  destination = "/run/my-app/credentials"
  perms       = 0600

  exec {
    command = ["systemctl", "reload", "my-app"]
  }
}
