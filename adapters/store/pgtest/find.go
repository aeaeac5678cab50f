package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

const oldest = 15

// find gives the folder with the newest PostgreSQL's programs.
func find() (string, error) {
	best, bin := 0, ""
	for _, dir := range folders() {
		if major := majorOf(dir); major > best {
			best, bin = major, dir
		}
	}
	if best < oldest {
		return "", errNone
	}
	return bin, nil
}

// folders gives those that may hold the programs.
func folders() []string {
	if bin := os.Getenv(binVariable); bin != "" {
		return []string{bin}
	}
	var out []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil { // initdb looks beside itself
			path = real
		}
		out = append(out, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin", "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic(err) // the pattern is wrong
		}
		out = append(out, found...)
	}
	return out
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// majorOf gives the version of the programs in a folder, 0 if there are none.
func majorOf(dir string) int {
	for _, program := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return 0
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "pgtest: %s does not run: %v\n", dir, err)
		return 0
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return 0
	}
	major, _ := strconv.Atoi(string(match[1]))
	return major
}
