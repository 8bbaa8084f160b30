package app

import (
	"errors"
	"log/slog"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
)

// memoryShare of what the control group allows is Go's; the rest is for what its
// runtime does not count.
const memoryShare = 0.9

// boundMemory makes the collector work harder before the kernel kills the process, as
// GOMEMLIMIT does, which wins where it is set.
func boundMemory(logger *zap.Logger) {
	limit, err := memlimit.SetGoMemLimitWithOpts(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	switch {
	case errors.Is(err, memlimit.ErrCgroupsNotSupported), errors.Is(err, memlimit.ErrNoCgroup):
	case err != nil:
		logger.Warn("the memory limit of the control group is not known; set GOMEMLIMIT", zap.Error(err))
	case limit > 0:
		logger.Info("memory limit of the control group", zap.Int64("gomemlimit", limit))
	}
}

// warnOfFiles says when the limits can't be reached for want of file descriptors.
func warnOfFiles(cfg *configs.Config, logger *zap.Logger) {
	nodes := 0
	for _, c := range cfg.Clusters {
		nodes += len(c.Addresses)
	}
	most := uint64(len(cfg.Listeners)*cfg.Limits.Connections + nodes*cfg.Connections.PerNode)
	if limit := openFiles(); limit > 0 && limit < most {
		logger.Warn("fewer files may be open than limits.connections and connections.per_node allow; raise the hard limit (LimitNOFILE), or lower them",
			zap.Uint64("limit", limit), zap.Uint64("wanted", most))
	}
}
