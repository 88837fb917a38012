package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/telemetry"
)

// stopLimit is when a service that is asked to stop and hangs is cut off.
const stopLimit = 25 * time.Second

// service is the part of the settings that makes a service.
func (c *config) service() app.Config {
	var files *app.TLSFiles
	if c.TLSCert != "" || c.TLSKey != "" || c.TLSClientCA != "" {
		files = &app.TLSFiles{Cert: c.TLSCert, Key: c.TLSKey, ClientCA: c.TLSClientCA}
	}
	return app.Config{
		OIDC: auth.OIDCConfig{Issuer: c.OIDCIssuer, Audience: c.OIDCAudience}, TLS: files, Quota: c.Quota,
		Store: c.Store, Redis: c.Redis, Auth: c.Auth, SecretFile: c.SecretFile,
		GRPCAddr: c.GRPCAddr, HTTPAddr: c.HTTPAddr, MetricsAddr: c.MetricsAddr,
		Reflection: c.Reflection, Strict: c.Strict, Origins: words(c.Origins),
	}
}

func runServe(ctx context.Context, std console, c *config, _ []string) error {
	return host(ctx, c.service(), func(addrs app.Addrs) { announce(std.out, addrs) })
}

// host runs a service until ctx ends.
func host(ctx context.Context, settings app.Config, ready func(app.Addrs)) (err error) {
	if err := settings.Validate(); err != nil {
		return usageError{err}
	}
	tel, err := telemetry.Setup(ctx, version())
	if err != nil {
		return err
	}
	defer tel.Shutdown()
	slog.SetDefault(tel.Log)
	settings.Telemetry = tel
	// Everything stops in order and within its limits. Should something hang all the same, a
	// process that is gone is better than one that is neither here nor there.
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(stopLimit, func() {
			tel.Log.Error("did not stop in time; what was acknowledged is stored")
			os.Exit(exitFailed)
		})
	})()
	a, err := app.Open(ctx, settings)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\nname another address with --grpc-addr, --http-addr or --metrics-addr; port 0 picks a free one", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Run(ctx, ready)
}

// announce prints the one line that programs wait for.
func announce(w io.Writer, addrs app.Addrs) {
	line, err := json.Marshal(addrs)
	if err != nil {
		panic(err) // three strings
	}
	fmt.Fprintf(w, "%s\n", line)
}

func runMigrate(ctx context.Context, std console, c *config, _ []string) error {
	if err := app.CheckStore(c.Store); err != nil {
		return usageError{err}
	}
	if err := app.Migrate(ctx, c.Store); err != nil {
		return err
	}
	fmt.Fprintln(std.out, "up to date")
	return nil
}

func runCheck(ctx context.Context, std console, c *config, _ []string) error {
	findings, err := app.Check(ctx, c.service())
	if err != nil {
		return err
	}
	for _, f := range findings {
		fmt.Fprintln(std.out, f)
	}
	if len(findings) > 0 {
		return fmt.Errorf("%d findings", len(findings))
	}
	fmt.Fprintln(std.out, "nothing found")
	return nil
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
