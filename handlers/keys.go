package handlers

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors about the key of a request.
var (
	errNoKey  = errors.New("a key is needed: send it as \"Authorization: Bearer KEY\"")
	errBadKey = errors.New("the key is not known")
	errScope  = errors.New("this key may only ask; the call needs an admin key")
)

// MinKeyBytes is the fewest bytes of a key: keys are chosen by operators, and a
// short one can be guessed.
const MinKeyBytes = 16

// Keys tells who may do what. An infer key may ask, an admin key may do everything.
// Only hashes are kept. The zero Keys lets everybody do everything: such a server
// must not be reachable from other machines.
type Keys struct {
	infer, admin [][sha256.Size]byte
}

// NewKeys takes the configured keys. The error says which is too short, by its
// place and never by its text.
func NewKeys(infer, admin []string) (Keys, error) {
	var k Keys
	for _, s := range []struct {
		name string
		keys []string
		into *[][sha256.Size]byte
	}{{"infer", infer, &k.infer}, {"admin", admin, &k.admin}} {
		for i, key := range s.keys {
			if len(key) < MinKeyBytes {
				return Keys{}, fmt.Errorf("%s key %d has %d bytes; at least %d are needed (openssl rand -hex 24 makes one)", s.name, i+1, len(key), MinKeyBytes)
			}
			*s.into = append(*s.into, sha256.Sum256([]byte(key)))
		}
	}
	return k, nil
}

// Empty tells whether there are no keys.
func (k Keys) Empty() bool { return len(k.infer)+len(k.admin) == 0 }

// scope is what a call needs.
type scope int

const (
	scopeInfer scope = iota
	scopeAdmin
)

// check tells whether a request may do what needs the scope.
func (k Keys) check(r *http.Request, need scope) error {
	if k.Empty() {
		return nil
	}
	kind, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") || key == "" {
		return errNoKey
	}
	// Both lists are always read to their ends, so that time tells nothing.
	hash := sha256.Sum256([]byte(key))
	infer, admin := among(hash, k.infer), among(hash, k.admin)
	switch {
	case admin || infer && need == scopeInfer:
		return nil
	case infer:
		return errScope
	default:
		return errBadKey
	}
}

func among(hash [sha256.Size]byte, known [][sha256.Size]byte) bool {
	found := 0
	for _, h := range known {
		found |= subtle.ConstantTimeCompare(hash[:], h[:])
	}
	return found == 1
}

// allow lets requests through whose key has the scope.
func (a *api) allow(need scope) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := a.Keys.check(r, need); err != nil {
				if !errors.Is(err, errScope) {
					w.Header().Set("WWW-Authenticate", `Bearer realm="valence"`)
				}
				a.fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
