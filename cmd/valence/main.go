// Command valence tells the sentiment of texts with one frozen mT5-family base and
// IA3 adapters. See valence --help.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], standardStreams()))
}
