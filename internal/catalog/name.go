package catalog

import (
	"regexp"
	"strings"

	"github.com/aitheater/theater/internal/fault"
)

var idForm = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

const idRule = "an id is a lower-case letter, then up to 62 lower-case letters, digits and hyphens, not ending in a hyphen"

const (
	filmPrefix  = "films/"
	genrePrefix = "genres/"
)

// checkName refuses what is not prefix+id; path is where the name stands.
func checkName(path, prefix, name string) error {
	id, ok := strings.CutPrefix(name, prefix)
	if !ok || !idForm.MatchString(id) {
		return fault.Invalid(path, "must be %s{id}; %s", prefix, idRule)
	}
	return nil
}

// newName is the name of a resource to be created: the id, with the name inside the message
// empty or equal.
func newName(prefix, idPath, id, namePath, inside string) (string, error) {
	if !idForm.MatchString(id) {
		return "", fault.Invalid(idPath, "%s", idRule)
	}
	if inside != "" && inside != prefix+id {
		return "", fault.Invalid(namePath, "must be empty or %s%s", prefix, id)
	}
	return prefix + id, nil
}
