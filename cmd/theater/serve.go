package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/aitheater/theater/internal/app"
)

// service is the part of the settings that makes a service.
func (c *config) service() app.Config {
	return app.Config{
		Store: c.Store, Redis: c.Redis, Auth: c.Auth, SecretFile: c.SecretFile,
		GRPCAddr: c.GRPCAddr, HTTPAddr: c.HTTPAddr, MetricsAddr: c.MetricsAddr,
		Reflection: c.Reflection, Strict: c.Strict,
	}
}

func runServe(ctx context.Context, std console, c *config, _ []string) error {
	settings := c.service()
	if err := settings.Validate(); err != nil {
		return usageError{err}
	}
	a, err := app.Open(ctx, settings)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Run(ctx, func(addrs app.Addrs) { announce(std.out, addrs) })
}

// announce prints the one line that programs wait for.
func announce(w io.Writer, addrs app.Addrs) {
	line, err := json.Marshal(addrs)
	if err != nil {
		panic(err) // three strings
	}
	fmt.Fprintf(w, "%s\n", line)
}

func runDemo(ctx context.Context, std console, c *config, _ []string) error {
	return fmt.Errorf("the demo comes with the rooms")
}

func runMigrate(ctx context.Context, std console, c *config, _ []string) error {
	if err := app.Migrate(ctx, c.Store); err != nil {
		return err
	}
	fmt.Fprintln(std.out, "up to date")
	return nil
}

func runCheck(ctx context.Context, std console, c *config, _ []string) error {
	settings := c.service()
	if err := settings.Validate(); err != nil {
		return usageError{err}
	}
	return fmt.Errorf("check comes with the rooms")
}

func runVersion(_ context.Context, std console, _ *config, _ []string) error {
	fmt.Fprintln(std.out, "theater", version())
	return nil
}

// version is what the build says of itself: the module's version, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			text += " " + s.Value[:12]
		}
	}
	return text + " " + info.GoVersion
}
