package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/listing"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

// Check opens what a service with these settings would open, reads the whole catalogue, and
// gives what it finds wrong, a line each; nil when all is well.
func Check(ctx context.Context, c Config) (findings []string, err error) {
	found := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	if err := c.Validate(); err != nil {
		found("settings: %v", err)
	}
	if _, _, err := openAuth(c, nil); err != nil {
		found("auth: %v", err)
	}
	if c.TLS != nil && c.checkTLS() == nil {
		if err := c.TLS.Check(); err != nil {
			found("tls: %v", err)
		}
	}
	if c.Redis != EmbeddedRedis {
		if err := pingRedis(ctx, c.Redis); err != nil {
			found("redis: %v (the service would start, and go on with the lists it has)", err)
		}
	}
	db, err := sqldb.Open(ctx, c.Store)
	if err != nil {
		found("store: %v", err)
		return findings, nil
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := openKeys(c.SecretFile, db); err != nil {
		found("%v", err)
	}
	sh, err := loadOnce(ctx, db)
	if err != nil {
		return findings, err
	}
	if _, err := changes.New(db, uuid.NewString()).VerifyAudit(ctx); err != nil {
		found("audit: %v", err)
	}
	return append(findings, invariants(sh.Current(), db.Clock().Now())...), nil
}

func pingRedis(ctx context.Context, setting string) (err error) {
	client, closeRedis, err := OpenRedis(setting)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRedis()) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return client.Ping(ctx).Err()
}

// loadOnce fills a shelf and stops following.
func loadOnce(ctx context.Context, db *sqldb.DB) (*shelf.Shelf, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log, sh := changes.New(db, uuid.NewString()), shelf.New()
	ended := make(chan error, 1)
	go func() { ended <- log.Follow(ctx, sh) }()
	select {
	case <-log.Loaded():
		cancel()
		return sh, <-ended
	case err := <-ended:
		return nil, errors.Join(errors.New("the catalogue could not be read"), err)
	}
}

// invariants gives what in a catalogue refers to nothing, or is shown against the rules.
func invariants(s *shelf.Snapshot, now time.Time) (findings []string) {
	found := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for slot := range s.Slots() {
		e := s.At(slot)
		if e == nil || e.Deleted {
			continue
		}
		f := e.Film()
		children := false
		for _, slug := range f.GetGenres() {
			g := s.Genre("genres/" + slug)
			if g == nil {
				found("%s: genre %q does not exist", e.Name, slug)
			}
			children = children || g.GetChildren()
		}
		if e.State == pb.Film_PUBLISHED {
			for _, v := range disclosure.Publish(f, children, now) {
				found("%s: published against rule %s (%s): %s", e.Name, v.Rule, v.Subject, v.Description)
			}
		}
	}
	for _, section := range s.Sections() {
		for _, name := range section.GetManual().GetFilms() {
			if e := s.Film(name); e == nil || e.Deleted {
				found("%s: %s does not exist", section.GetName(), name)
			}
		}
	}
	builtin := map[string]bool{}
	for _, section := range listing.Sections() {
		builtin[section.GetName()] = true
	}
	for _, layout := range s.Layouts() {
		for _, name := range layout.GetSections() {
			if s.Section(name) == nil && !builtin[name] {
				found("%s: %s does not exist", layout.GetName(), name)
			}
		}
	}
	return findings
}
