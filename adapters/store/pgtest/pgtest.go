// Package pgtest gives tests a real PostgreSQL, from the binaries on the machine: one
// cluster for a test binary, started when the first test asks for a database, and one
// fresh database for each test.
//
// Binaries of version 15 or newer are looked for in VALENCE_PG_BIN (and nowhere else,
// if it is set), PATH, /usr/lib/postgresql/*/bin and Homebrew's folders. Where there are
// none, tests are skipped, or fail if VALENCE_REQUIRE_POSTGRES is 1.
//
// The cluster lies in a temporary folder and is reached by a Unix socket in it. It does
// not sync: tests kill its clients, not the machine. It ends with the test binary,
// however that ends.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variables that tests obey.
const (
	requireVariable = "VALENCE_REQUIRE_POSTGRES"
	binVariable     = "VALENCE_PG_BIN"
)

// errNone says that the machine has no PostgreSQL to test with.
var errNone = errors.New("there is no PostgreSQL 15 or newer here: install it (Debian: apt-get install postgresql; macOS: brew install postgresql), " +
	"or name the folder of its programs in " + binVariable)

// cluster is started once in a test binary, for to start one takes seconds. The process
// that watches over it knows when the binary has ended, so nobody needs to stop it.
var cluster = sync.OnceValues(start)

// statementTime bounds what is asked of the cluster here; a busy machine is slow.
const statementTime = time.Minute

// Database makes an empty database and gives its URL. It is dropped when the test ends,
// whoever is still connected.
func Database(t testing.TB) string {
	t.Helper()
	c, err := cluster()
	switch {
	case errors.Is(err, errNone) && os.Getenv(requireVariable) != "1":
		fmt.Fprintf(os.Stderr, "\n*** %s: NOT TESTED ON POSTGRESQL: %v\n\n", t.Name(), err)
		t.Skipf("not tested on PostgreSQL: %v", err)
	case err != nil:
		t.Fatalf("pgtest: %v", err)
	}
	name := fmt.Sprintf("test_%d", c.databases.Add(1))
	if err := c.admin("CREATE DATABASE " + name); err != nil {
		t.Fatalf("pgtest: create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := c.admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: drop the database: %v", err)
		}
	})
	return c.url(name)
}

// admin runs a statement in the cluster's own database.
func (c *server) admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
