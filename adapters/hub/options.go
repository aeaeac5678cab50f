package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultEndpoint is the Hugging Face Hub.
const DefaultEndpoint = "https://huggingface.co"

// Defaults of Options.
const (
	DefaultMaxBytes     = 64 << 20
	DefaultTimeout      = 5 * time.Minute
	DefaultStallTimeout = 10 * time.Second // as huggingface_hub's HF_HUB_DOWNLOAD_TIMEOUT
	DefaultRetries      = 5                // as huggingface_hub's http_backoff
)

// Options configures a Client. Zero values of all but CacheDir mean the defaults.
type Options struct {
	Endpoint     string        // of the Hub, or of a mirror, which may have a path
	Token        string        // sent for callers who give none; "" sends none
	CacheDir     string        // the folder that holds models--<owner>--<name>
	Offline      bool          // answer from the cache alone
	MaxBytes     int64         // bound of the files of one snapshot, or one push, together
	Timeout      time.Duration // bound of a whole call: of all its requests, retries and waits
	StallTimeout time.Duration // bound of a request's silence: before its answer, and within it
	Retries      int           // of a request, after its first try; negative for none
	HTTPClient   *http.Client  // its redirect policy is not used
	Log          *slog.Logger  // nil logs nothing

	// Progress, if any, is told how many bytes of a snapshot's missing files have been
	// fetched, and how many there are. Calls for one snapshot come one at a time.
	Progress func(done, total int64)
}

// Client speaks to one Hub and keeps one cache. It is safe for concurrent use, also
// with other processes on the same cache.
type Client struct {
	o        Options
	endpoint *url.URL
	http     *http.Client
	log      *slog.Logger

	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

// New makes a client. Errors wrap ErrInvalid and name the option.
func New(o Options) (*Client, error) {
	setDefaults(&o)
	endpoint, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.Token, err = cleanToken(o.Token); err != nil {
		return nil, err
	}
	if o.CacheDir == "" {
		return nil, fmt.Errorf("%w: CacheDir is empty", ErrInvalid)
	}
	if o.MaxBytes < 0 || o.Timeout < 0 || o.StallTimeout < 0 {
		return nil, fmt.Errorf("%w: MaxBytes, Timeout and StallTimeout must not be negative", ErrInvalid)
	}
	if o.CacheDir, err = filepath.Abs(o.CacheDir); err != nil {
		return nil, fmt.Errorf("%w: CacheDir: %w", ErrInvalid, err)
	}
	return &Client{
		o: o, endpoint: endpoint, http: withoutRedirects(o.HTTPClient), log: o.Log, now: time.Now, sleep: sleep,
	}, nil
}

func setDefaults(o *Options) {
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = DefaultStallTimeout
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: Endpoint (HF_ENDPOINT): a URL such as %s is wanted, with a host and without a user or query",
			ErrInvalid, DefaultEndpoint)
	}
	return u, nil
}

// cleanToken drops the white space around a token, as huggingface_hub does, and
// refuses what no header can carry. The error does not tell the token.
func cleanToken(token string) (string, error) {
	token = strings.TrimSpace(token)
	for _, r := range token {
		if r <= ' ' || r > '~' {
			return "", fmt.Errorf("%w: the Hub token (HF_TOKEN) holds a character that is not printable ASCII", ErrInvalid)
		}
	}
	return token, nil
}

// withoutRedirects copies a client, or makes one, that leaves redirects to its
// caller: what may be sent along depends on where they lead.
func withoutRedirects(client *http.Client) *http.Client {
	if client == nil {
		client = &http.Client{}
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// FromEnv reads the variables of huggingface_hub: HF_ENDPOINT, HF_TOKEN (or
// HUGGING_FACE_HUB_TOKEN), HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE), and for the
// cache HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME and XDG_CACHE_HOME. An empty
// variable counts as unset. getenv is os.Getenv but in tests; home is the user's
// home folder, and is needed only where no variable names the cache. Errors wrap
// ErrInvalid and name the variable.
func FromEnv(getenv func(string) string, home string) (Options, error) {
	first := func(names ...string) (name, value string) {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return name, value
			}
		}
		return "", ""
	}
	_, endpoint := first("HF_ENDPOINT")
	_, token := first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
	offline, err := parseSwitch(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
	if err != nil {
		return Options{}, err
	}
	cache := cacheDir(getenv, home)
	if cache == "" {
		return Options{}, fmt.Errorf("%w: the home folder is unknown: set HF_HUB_CACHE to a folder for the Hub's files", ErrInvalid)
	}
	return Options{Endpoint: endpoint, Token: token, CacheDir: cache, Offline: offline}, nil
}

func parseSwitch(name, value string) (bool, error) {
	switch strings.ToUpper(value) {
	case "1", "ON", "YES", "TRUE":
		return true, nil
	case "", "0", "OFF", "NO", "FALSE":
		return false, nil
	}
	return false, fmt.Errorf("%w: %s is %q: 1, on, yes, true, 0, off, no and false are allowed", ErrInvalid, name, value)
}

// cacheDir follows huggingface_hub's constants.py.
func cacheDir(getenv func(string) string, home string) string {
	expand := func(path string) string {
		if home != "" && (path == "~" || strings.HasPrefix(path, "~"+string(os.PathSeparator))) {
			path = home + path[1:]
		}
		return os.Expand(path, func(name string) string {
			if value := getenv(name); value != "" {
				return value
			}
			return "$" + name
		})
	}
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if dir := getenv(name); dir != "" {
			return expand(dir)
		}
	}
	if dir := getenv("HF_HOME"); dir != "" {
		return filepath.Join(expand(dir), "hub")
	}
	if dir := getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(expand(dir), "huggingface", "hub")
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".cache", "huggingface", "hub")
}
