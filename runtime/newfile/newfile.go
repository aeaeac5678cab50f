// Package newfile writes files that appear whole or not at all.
package newfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Unfinished is how the names of files begin that are being written, or were by a process
// that was killed.
const Unfinished = ".unfinished-"

// Write makes a file with what write writes, beside path, and renames it to path: others see
// the file that was there until then, or none. On an error nothing is left.
func Write(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), Unfinished+"*")
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
