package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"valence/cmd/internal/client"
)

// keyFlags open a server.
type keyFlags struct {
	Key string `env:"VALENCE_KEY,VALENCE_ADMIN_KEY" help:"API key with admin scope, where the server has keys. Best by the environment, where other users of the machine cannot see it." placeholder:"KEY"`
}

// client is how commands call a server. The environment of a server may hold several
// keys, of which the first serves.
func (f *keyFlags) client(url string) client.Options {
	key, _, _ := strings.Cut(f.Key, ",")
	return client.Options{URL: url, Key: key, Patience: client.DefaultPatience}
}

// serverFlags say which server does the work.
type serverFlags struct {
	keyFlags
	Server   string `default:"http://127.0.0.1:8080" help:"The server." placeholder:"URL"`
	HubToken string `help:"Your own token for the Hub, in place of the server's. What is pulled with it answers only callers who send one that may read the repository." placeholder:"TOKEN"`
}

func (f *serverFlags) open() (*client.Client, error) {
	o := f.client(f.Server)
	o.HubToken = f.HubToken
	return client.New(o)
}

type pullCmd struct {
	serverFlags
	ID       string `arg:"" help:"The adapter's id on the server." placeholder:"ID"`
	Repo     string `help:"The adapter's repository on the Hub; the id by default." placeholder:"OWNER/NAME"`
	Revision string `help:"Branch, tag or commit; the default branch by default."`
	Activate bool   `default:"true" negatable:"" help:"Let the version answer for the id from now on."`
}

// Help is shown by kong below the usage.
func (c *pullCmd) Help() string {
	return `Makes a running server fetch an adapter from the Hugging Face Hub, check it and keep it.

  valence pull acme/reviews
  valence pull reviews --repo acme/reviews --revision v1.2 --no-activate`
}

// Run pulls and tells which version there is now.
func (c *pullCmd) Run(ctx context.Context, std streams) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	p, err := server.Pull(ctx, c.ID, client.PullRequest{Repo: c.Repo, Revision: c.Revision, Activate: &c.Activate})
	if err != nil {
		return err
	}
	was := "was there already"
	if p.New {
		was = "is new"
	}
	fmt.Fprintf(std.out, "%s@%s %s\n\n", p.ID, p.Version, was)
	return printVersions(std, &p.Adapter)
}

func printVersions(std streams, a *client.Adapter) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "version\tactive\tcreated\tdigest\torigin")
	for _, v := range a.Versions {
		active := ""
		if v.Active {
			active = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s %s\n", v.Version, active, v.Created.Format(time.DateTime), v.Digest, v.Source, v.Origin)
	}
	return w.Flush()
}
