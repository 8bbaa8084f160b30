# A proxy on each Nomad client, for all its tasks: clients' own sessions only, no identity.
#
#   nomad job run -var version=v1.0.0 -var checksum=sha256:… vrproxy.nomad.hcl
#
# Tasks on the host's network use VAULT_ADDR=http://127.0.0.1:8200. Others mount the host
# volume "vrproxy" and use VAULT_ADDR=unix:///run/vrproxy/vault.sock. The client needs
#
#   host_volume "vrproxy"     { path = "/run/vrproxy" }   # owned by nobody
#   host_network "loopback"   { cidr = "127.0.0.0/8" }
variable "version" {
  type = string
}

variable "checksum" {
  type        = string
  description = "of the archive, as in SHA256SUMS"
}

job "vrproxy" {
  type     = "system"
  priority = 90

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # One node after the other, and only while the last one is well.
  update {
    max_parallel     = 1
    min_healthy_time = "10s"
    healthy_deadline = "1m"
    auto_revert      = true
  }

  group "vrproxy" {
    network {
      port "vault" {
        static       = 8200
        host_network = "loopback"
      }
      port "admin" {
        static       = 8210
        host_network = "loopback"
      }
    }

    volume "run" {
      type   = "host"
      source = "vrproxy"
    }

    task "vrproxy" {
      driver       = "exec" # a chroot, and no capabilities
      user         = "nobody"
      kill_signal  = "SIGTERM"
      kill_timeout = "50s" # longer than both times of shutdown together

      artifact {
        source = "https://github.com/vrproxy/vrproxy/releases/download/${var.version}/vrproxy_${var.version}_linux_${attr.cpu.arch}.tar.gz"
        options {
          checksum = "${var.checksum}"
        }
      }

      config {
        command  = "local/vrproxy"
        args     = ["run", "-c", "local/vrproxy.yaml"]
        cap_drop = ["all"]
      }

      env {
        VRPROXY_REGION = "${node.region}"
      }

      volume_mount {
        volume      = "run"
        destination = "/run/vrproxy"
      }

      # A changed file is read without a restart.
      template {
        destination   = "local/vrproxy.yaml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data          = <<EOF
region: global
listeners:
  - { address: "127.0.0.1:8200", identity: never }
  - { address: "unix:///run/vrproxy/vault.sock", mode: "0666", identity: never }
clusters:
  - name: us-east
    region: us-east
    addresses: ["https://vault.us-east.example.com:8200"]
  - name: eu-west
    region: eu-west
    addresses: ["https://vault.eu-west.example.com:8200"]
sessions: { max: 50000 }
shutdown: { drain_delay: 2s, drain_timeout: 30s }
EOF
      }

      resources {
        cpu        = 100
        memory     = 128
        memory_max = 512
      }

      service {
        name     = "vrproxy"
        port     = "vault"
        provider = "consul"

        check {
          name     = "ready"
          type     = "http"
          port     = "admin"
          path     = "/readiness"
          interval = "5s"
          timeout  = "2s"
        }
      }
    }
  }
}
