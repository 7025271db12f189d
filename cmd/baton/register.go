package main

import (
	"baton/config"
	"baton/failover/natskv"

	"go.uber.org/zap"
)

// registerOptions says the configuration in the words of package natskv. A fresh node, which was in no pair yet, may make the
// bucket.
func registerOptions(cfg config.Failover, token config.Secret, fresh bool, logger *zap.Logger) natskv.Options {
	urls := make([]string, len(cfg.Register.URLs))
	for i, u := range cfg.Register.URLs {
		urls[i] = u.Reveal()
	}
	return natskv.Options{
		URLs:     urls,
		Token:    token.Reveal(),
		Bucket:   cfg.Register.Bucket,
		Key:      cfg.RegisterKey(),
		Replicas: cfg.Register.Replicas,
		Create:   fresh,
		Name:     "baton " + cfg.Name + "/" + cfg.Node,
		Logger:   logger,
	}
}
