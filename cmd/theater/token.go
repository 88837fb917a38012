package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aitheater/theater/internal/auth"
)

// runToken enters a caller in a file of static keys and prints its key, which the file holds
// only as a hash, or makes a token that needs no file.
func runToken(_ context.Context, std console, c *config, _ []string) error {
	if c.Role == "" {
		return usagef("--role is required")
	}
	if c.TTL < 0 {
		return usagef("--ttl %v: want a time to come", c.TTL)
	}
	claims := auth.Claims{ID: c.ID, Roles: words(c.Role), Audience: c.Audience, AgeBand: c.AgeBand, Markets: words(c.Market)}
	if claims.ID == "" {
		claims.ID = strings.ToLower(strings.Join(claims.Roles, "-") + "-" + rand.Text()[:6])
	}
	if c.TTL > 0 && c.SecretFile != "" {
		return mint(std, c, claims)
	}
	principals := map[string]json.RawMessage{}
	content, err := os.ReadFile(c.Keys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		// The strict reader first: it names what is wrong with the file.
		if _, err := auth.ParseStatic(content); err != nil {
			return fmt.Errorf("%s: %w", c.Keys, err)
		}
		if err := json.Unmarshal(content, &principals); err != nil {
			return fmt.Errorf("%s: %w", c.Keys, err)
		}
	}
	key := rand.Text()
	sum := sha256.Sum256([]byte(key))
	made, until := auth.Entry{Claims: claims}, ""
	if c.TTL > 0 {
		made.Expires = time.Now().Add(c.TTL).UTC().Truncate(time.Second)
		until = " until " + made.Expires.Format(time.RFC3339)
	}
	entry, err := json.Marshal(made)
	if err != nil {
		return err
	}
	principals["sha256:"+hex.EncodeToString(sum[:])] = entry
	content, err = json.MarshalIndent(principals, "", "  ")
	if err != nil {
		return err
	}
	if _, err := auth.ParseStatic(content); err != nil {
		return usageError{err}
	}
	if err := replace(c.Keys, append(content, '\n')); err != nil {
		return err
	}
	fmt.Fprintln(std.out, key)
	fmt.Fprintf(std.err, "%s may now call a server started with --auth static:%s%s\n", claims.ID, c.Keys, until)
	return nil
}

// mint makes a token that every server with the same secret knows until it expires.
func mint(std console, c *config, claims auth.Claims) error {
	keys, err := auth.ReadKeys(c.SecretFile)
	if err != nil {
		return err
	}
	token, err := auth.Mint(keys, claims, c.TTL)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintln(std.out, token)
	fmt.Fprintf(std.err, "%s may call servers started with this secret for %v\n", claims.ID, c.TTL)
	return nil
}

// words splits a comma-separated list; nil for none.
func words(list string) []string {
	if list == "" {
		return nil
	}
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// replace writes a file that only its owner reads, whole or not at all.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".keys-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
