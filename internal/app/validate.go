package app

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Validate says what in the settings does not fit together, before anything is opened. Its
// errors name the flag of the command and the rule.
func (c *Config) Validate() error {
	for _, check := range []func() error{c.checkStores, c.checkTLS, c.checkAuth, c.checkAddrs, c.checkOrigins} {
		if err := check(); err != nil {
			return err
		}
	}
	// Below one call in 11 days and above one in a nanosecond the interval is no duration; a
	// quota of NaN is neither.
	if c.Quota != 0 && !(c.Quota >= 1e-6 && c.Quota <= 1e9) {
		return fmt.Errorf("--quota %v: want calls a second, up to 1e9, or 0 for any number", c.Quota)
	}
	return nil
}

func (c *Config) checkStores() error {
	if err := CheckStore(c.Store); err != nil {
		return err
	}
	if c.Redis != EmbeddedRedis {
		if _, err := redisOptions(c.Redis); err != nil {
			return fmt.Errorf("--redis: %w", err)
		}
	} else if IsPostgres(c.Store) {
		return errors.New("--redis embedded serves one process only, and several may share a PostgreSQL: name a Redis, for example redis://localhost:6379")
	}
	return nil
}

func (c *Config) checkAuth() error {
	kinds, err := readAuth(c.Auth)
	if err != nil {
		return err
	}
	if kinds.oidc {
		if err := c.OIDC.Validate(); err != nil {
			return fmt.Errorf("--auth oidc: --oidc-%w", err)
		}
	} else if c.OIDC.Issuer != "" || c.OIDC.Audience != "" {
		return fmt.Errorf("--oidc-issuer, --oidc-audience: with --auth %s no token of a provider is taken; add oidc, as in --auth oidc,static:FILE", c.Auth)
	}
	if c.TLS != nil && c.TLS.ClientCA != "" && len(kinds.static) == 0 {
		return fmt.Errorf("--tls-client-ca: with --auth %s no certificate is anybody's; they are listed in a file of static keys, as in --auth oidc,static:FILE", c.Auth)
	}
	return nil
}

// authKinds are the parts of the setting Auth.
type authKinds struct {
	open, oidc bool
	static     []string // files
}

func readAuth(setting string) (kinds authKinds, err error) {
	for part := range strings.SplitSeq(setting, ",") {
		file, static := strings.CutPrefix(part, "static:")
		switch {
		case static && file != "":
			kinds.static = append(kinds.static, file)
		case part == "oidc":
			kinds.oidc = true
		case part == "open" && part == setting:
			kinds.open = true
		case part == "open":
			return kinds, fmt.Errorf("--auth %q: open lets everyone in, whoever else is named beside it", setting)
		default:
			return kinds, fmt.Errorf("--auth %q: want open, static:FILE, oidc, or several of the last two with commas", setting)
		}
	}
	return kinds, nil
}

func (c *Config) checkAddrs() error {
	for _, a := range []struct{ flag, addr string }{{"--grpc-addr", c.GRPCAddr}, {"--http-addr", c.HTTPAddr}, {"--metrics-addr", c.MetricsAddr}} {
		host, port, err := net.SplitHostPort(a.addr)
		if err != nil {
			return fmt.Errorf("%s %q: want HOST:PORT", a.flag, a.addr)
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return fmt.Errorf("%s %q: want a port from 0 to 65535", a.flag, a.addr)
		}
		if c.Auth == "open" && !loopback(host) {
			return fmt.Errorf("%s %q: open to everyone is for loopback addresses only; listen on 127.0.0.1, or say who may call (--auth static:FILE)", a.flag, a.addr)
		}
	}
	return nil
}

// loopback reports whether only this machine can reach an address with this host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Config) checkTLS() error {
	switch {
	case c.TLS == nil:
		return nil
	case c.TLS.Cert == "" && c.TLS.Key == "":
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key: without them there is no TLS to show a certificate in")
	case c.TLS.Cert == "" || c.TLS.Key == "":
		return errors.New("--tls-cert and --tls-key belong together: name both or neither")
	}
	return nil
}

// checkOrigins refuses what no browser sends as an origin, and would therefore let nobody in.
func (c *Config) checkOrigins() error {
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || o != strings.ToLower(u.Scheme+"://"+u.Host)) {
			return fmt.Errorf("--origins %q: want scheme and host alone, in small letters as browsers send them: https://tv.example.com", o)
		}
	}
	return nil
}
