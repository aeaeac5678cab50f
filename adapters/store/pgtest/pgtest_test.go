package pgtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// childVariable makes the test binary start a cluster, name its folder, and wait.
const childVariable = "VALENCE_TEST_PG_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	c, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.dir)
	select {} // until it is killed
}

func TestDatabase(t *testing.T) {
	urls := []string{Database(t), Database(t)}
	for _, url := range urls {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), "CREATE TABLE fresh (id BIGINT)"); err != nil {
			t.Errorf("%s is not a database of its own: %v", url, err)
		}
		var version int
		if err := conn.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil || version < oldest*10000 {
			t.Errorf("version %d, %v", version, err)
		}
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	var url string
	t.Run("user", func(t *testing.T) {
		url = Database(t)
		if _, err := pgx.Connect(t.Context(), url); err != nil { // and stays connected
			t.Fatal(err)
		}
	})
	if url == "" {
		t.SkipNow() // as the sub-test was
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("%v", err)
	}
}

// TestClusterEndsWithTheBinary kills a binary that has one, so that it cannot clean up.
func TestClusterEndsWithTheBinary(t *testing.T) {
	Database(t) // there is PostgreSQL
	binary := exec.Command(os.Args[0])
	binary.Env = append(os.Environ(), childVariable+"=1")
	binary.Stderr = os.Stderr
	out, err := binary.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := binary.Start(); err != nil {
		t.Fatal(err)
	}
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatal("it has started no cluster")
	}
	c := &server{dir: line.Text()}
	if err := c.admin("SELECT 1"); err != nil {
		t.Errorf("the cluster does not answer: %v", err)
	}
	if err := binary.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = binary.Wait()
	for until := time.Now().Add(startTime); ; time.Sleep(startPoll) {
		_, err := os.Stat(c.dir)
		if os.IsNotExist(err) {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%s is still there: %v", c.dir, err)
		}
	}
	if err := c.admin("SELECT 1"); err == nil {
		t.Error("the cluster still answers")
	}
}

// TestNoPostgreSQL: without it tests are skipped and say what to install, or fail where
// they must run.
func TestNoPostgreSQL(t *testing.T) {
	for name, c := range map[string]struct {
		require string
		fails   bool
		says    string
	}{
		"skipped":  {"", false, "--- SKIP"},
		"required": {"1", true, "--- FAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			binary := exec.Command(os.Args[0], "-test.run=^TestDatabase$", "-test.v")
			binary.Env = append(os.Environ(), binVariable+"="+t.TempDir(), requireVariable+"="+c.require)
			out, err := binary.CombinedOutput()
			if (err != nil) != c.fails || !strings.Contains(string(out), c.says) || !strings.Contains(string(out), "apt-get install postgresql") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestMajorOf(t *testing.T) {
	for version, want := range map[string]int{
		"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)": 15, "postgres (PostgreSQL) 9.6.24": 9, "postgres (PostgreSQL) 18beta1": 18, "something": 0,
	} {
		dir := t.TempDir()
		for _, program := range []string{"postgres", "initdb"} {
			script := fmt.Sprintf("#!/bin/sh\necho '%s'\n", version)
			if err := os.WriteFile(dir+"/"+program, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if got := majorOf(dir); got != want {
			t.Errorf("%s: %d, want %d", version, got, want)
		}
		if err := os.Remove(dir + "/initdb"); err != nil {
			t.Fatal(err)
		}
		if got := majorOf(dir); got != 0 {
			t.Errorf("%d without initdb", got)
		}
	}
}
