package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"valence/adapters"
)

// DefaultRevision is the branch that an empty revision stands for.
const DefaultRevision = "main"

const (
	commitDigits = 40
	// minCommitDigits is the fewest digits that name a commit, as huggingface_hub's
	// REGEX_COMMIT_OID.
	minCommitDigits = 5
	// maxCommitPages bounds the search for a shortened commit; the Hub gives 50 commits
	// a page.
	maxCommitPages = 20
	// maxAnswer bounds an answer of the API in bytes. The longest is the list of the
	// files of a large repository.
	maxAnswer = 16 << 20
)

// Resolve gives the full commit hash that a branch, tag or commit of a repository
// stands for now; a commit may be shortened to its first digits, 5 at least. An
// empty revision is DefaultRevision, and an empty token the client's own. Offline,
// the cache answers. That a commit is told does not mean that the files of a gated
// repository may be read.
func (c *Client) Resolve(ctx context.Context, ref adapters.Ref, token string) (string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	t, token, err := c.check(ref, token)
	if err != nil {
		return "", err
	}
	return c.resolve(ctx, t, token)
}

// check validates what a caller gives and fills in the defaults.
func (c *Client) check(ref adapters.Ref, token string) (target, string, error) {
	if ref.Revision == "" {
		ref.Revision = DefaultRevision
	}
	parsed, err := adapters.ParseID(ref.String())
	if err != nil {
		return target{}, "", err
	}
	if parsed != ref {
		return target{}, "", fmt.Errorf("%w %q: the revision stands apart", adapters.ErrID, ref.ID)
	}
	if token, err = cleanToken(token); err != nil {
		return target{}, "", err
	}
	if token == "" {
		token = c.o.Token
	}
	return target{repo: ref.ID, revision: ref.Revision}, token, nil
}

func (c *Client) resolve(ctx context.Context, t target, token string) (string, error) {
	if c.o.Offline {
		return c.folder(t.repo).resolve(t)
	}
	var info struct{ Sha string }
	err := c.get(ctx, t, token, c.api(t.repo, "revision", t.revision), &info)
	if e, ok := errors.AsType[*Error](err); ok && e.code == codeRevision && isShortCommit(t.revision) {
		return c.complete(ctx, t, token, e)
	}
	if err != nil {
		return "", err
	}
	if !isCommit(info.Sha) || (isCommit(t.revision) && info.Sha != t.revision) {
		return "", t.fail(ErrCorrupt, nil, "the Hub answers with the commit %.60q", info.Sha)
	}
	return info.Sha, nil
}

// complete finds the commit of the default branch that a shortened hash stands for:
// the Hub itself knows full ones only. Where there is none, it gives missing.
func (c *Client) complete(ctx context.Context, t target, token string, missing error) (string, error) {
	found := ""
	next := c.api(t.repo, "commits", DefaultRevision)
	for range maxCommitPages {
		var commits []struct{ ID string }
		var link string
		if err := c.getPage(ctx, t, token, next, &commits, &link); err != nil {
			return "", err
		}
		for _, commit := range commits {
			if !strings.HasPrefix(commit.ID, t.revision) || !isCommit(commit.ID) || commit.ID == found {
				continue
			}
			if found != "" {
				return "", t.fail(ErrNotFound, nil, "both %s and %s begin so; give more digits", found, commit.ID)
			}
			found = commit.ID
		}
		if link == "" {
			break
		}
		next = link
	}
	if found == "" {
		return "", missing
	}
	return found, nil
}

// isCommit tells whether s is a full commit hash.
func isCommit(s string) bool { return len(s) == commitDigits && isHex(s) }

func isShortCommit(s string) bool {
	return len(s) >= minCommitDigits && len(s) < commitDigits && isHex(s)
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// api is the address of a repository's API: /api/models/<repo>/<verb>/<revision>.
func (c *Client) api(repo, verb, revision string) string {
	return c.endpoint.String() + "/api/models/" + repo + "/" + verb + "/" + url.PathEscape(revision)
}

// get asks the API and reads its JSON into to.
func (c *Client) get(ctx context.Context, t target, token, address string, to any) error {
	return c.getPage(ctx, t, token, address, to, nil)
}

// getPage is get, and sets link to the next page's address, or leaves it.
func (c *Client) getPage(ctx context.Context, t target, token, address string, to any, link *string) error {
	r := &request{target: t, method: http.MethodGet, url: address, token: token}
	return c.do(ctx, r, func(resp *http.Response) error {
		if link != nil {
			*link = nextPage(resp)
		}
		return t.decode(resp.Body, to)
	})
}

// decode reads an answer of the API.
func (t target) decode(body io.Reader, to any) error {
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(data) > maxAnswer {
		return t.fail(ErrTooLarge, nil, "the Hub's answer has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(data, to); err != nil {
		return t.fail(ErrCorrupt, err, "the Hub's answer is not understood; does the endpoint lead to a Hub?")
	}
	return nil
}

// nextPage reads the address in a Link header (RFC 8288) whose relation is next.
func nextPage(resp *http.Response) string {
	m := regexp.MustCompile(`<([^<>]+)>\s*;\s*rel="next"`).FindStringSubmatch(resp.Header.Get("Link"))
	if m == nil {
		return ""
	}
	next, err := resp.Request.URL.Parse(m[1])
	if err != nil {
		return ""
	}
	return next.String()
}
