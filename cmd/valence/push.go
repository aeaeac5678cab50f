package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"valence/cmd/internal/client"
)

type pushCmd struct {
	serverFlags
	Ref     string `arg:"" help:"The adapter's id on the server, with an optional @version." placeholder:"ID[@VERSION]"`
	Repo    string `help:"The repository on the Hub; the id by default." placeholder:"OWNER/NAME"`
	Branch  string `help:"Branch that gets the commit; the default branch by default."`
	Message string `short:"m" help:"Message of the commit; by default it names the version."`
	Create  bool   `help:"Make the repository where there is none."`
	Private bool   `help:"Make it private; goes with --create."`
}

// Help is shown by kong below the usage.
func (c *pushCmd) Help() string {
	return `Makes a running server send an adapter to the Hugging Face Hub as one commit: a folder that PEFT loads, valence.json, and a model card.

  valence push acme/reviews
  valence push reviews@v3 --repo acme/reviews --create --private -m "Retrained on June's tickets"`
}

// Validate is called by kong after parsing.
func (c *pushCmd) Validate() error {
	if c.Private && !c.Create {
		return errors.New("--private is for a repository that --create makes")
	}
	return nil
}

// Run pushes and tells where the commit is.
func (c *pushCmd) Run(ctx context.Context, std streams) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	id, version, _ := strings.Cut(c.Ref, "@")
	p, err := server.Push(ctx, id, client.PushRequest{
		Repo: c.Repo, Branch: c.Branch, Message: c.Message, Version: version, Create: c.Create, Private: c.Private,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s is commit %s on %s of %s\n%s\n", c.Ref, p.Commit, p.Branch, p.Repo, p.URL)
	return nil
}
