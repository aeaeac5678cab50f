// Command cmd runs a test hub until it is interrupted. It prints its address, for
// HF_ENDPOINT, as the first line.
//
//	go run ./adapters/hub/hubtest/cmd -token hf_alice=alice
//	HF_ENDPOINT=http://127.0.0.1:... HF_TOKEN=hf_alice HF_HUB_DISABLE_XET=1 hf upload alice/reviews folder
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"valence/adapters/hub/hubtest"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("hubtest", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address of the loopback interface")
	tokens := map[string]string{}
	flags.Func("token", "a token and its user, as token=user; can be given again", func(s string) error {
		token, user, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("token=user is wanted")
		}
		tokens[token] = user
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := hubtest.StartAt(*listen)
	if err != nil {
		return err
	}
	for token, user := range tokens {
		server.AddToken(token, user)
	}
	fmt.Println(server.URL)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return server.Close()
}
