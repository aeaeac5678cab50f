package peft

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Write writes the files of Encode, and card as README.md unless it is nil, into a
// new folder. The folder appears at once and whole: it is made under another name
// beside dir, synced and renamed, so that a crash leaves nothing at dir, and at worst
// a hidden folder ".valence-..." beside it.
//
// Where there is anything at dir, even an empty folder, the error wraps fs.ErrExist.
// Errors about the adapter wrap ErrAdapter; others are the system's. On an error
// nothing is left behind, except that where the last sync fails the folder is there
// but may not survive a crash.
func Write(dir string, f *Folder, card []byte) error {
	files, err := f.Encode()
	if err != nil {
		return err
	}
	if card != nil {
		files[cardFile] = card
	}
	if err := writeFolder(dir, files); err != nil {
		return fmt.Errorf("peft: write %s: %w", dir, err)
	}
	return nil
}

func writeFolder(dir string, files map[string][]byte) (err error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	parent := filepath.Dir(path)
	temporary := filepath.Join(parent, ".valence-"+rand.Text())
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temporary))
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeSynced(filepath.Join(temporary, name), files[name]); err != nil {
			return err
		}
	}
	if err := syncFolder(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncFolder(parent)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
