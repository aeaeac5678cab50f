// Package stamp remembers the SHA-256 of large files, for as long as they stay the same.
package stamp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"valence/runtime/newfile"
	"valence/runtime/safetensors"
)

// Sums keeps, in a folder, the SHA-256 of each file that it has read, and takes it from there
// while the file is the same: the same inode of the same size, its content and its status
// last changed at the same times. To read some gigabytes once more takes seconds. What goes
// wrong with the folder is told to Failed, and costs no more than that time. The zero value
// remembers none.
type Sums struct {
	Folder string
	Failed func(error)
}

// stamp tells a state of a file from every other one, as far as the system does.
type stamp struct {
	Device, Inode     uint64
	Size              int64
	Changed, Modified int64  // status and content, in nanoseconds since 1970
	SHA256            string `json:",omitempty"`
}

// Settled is how long a file must have rested for its times to tell of the next change:
// file systems count some of them in steps of up to two seconds.
const Settled = 3 * time.Second

// Of gives the SHA-256 of a file.
func (s Sums) Of(f *safetensors.File) []byte {
	now, ok := stampOf(f.Info())
	if s.Folder == "" || !ok {
		return sumOf(f)
	}
	if known, err := readStamp(s.path(now)); err == nil {
		if sum, same := known.matches(now); same {
			return sum
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.Failed(err)
	}
	sum := sumOf(f)
	if time.Since(time.Unix(0, max(now.Changed, now.Modified))) > Settled {
		s.write(now, sum)
	}
	return sum
}

// Remember keeps the SHA-256 of a file that has just been written under another name, and
// that nobody writes to since it has its own.
func (s Sums) Remember(path string, sum []byte) {
	if s.Folder == "" {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		s.Failed(err)
		return
	}
	if now, ok := stampOf(info); ok {
		s.write(now, sum)
	}
}

// write keeps the sum of a file in a state.
func (s Sums) write(of stamp, sum []byte) {
	of.SHA256 = hex.EncodeToString(sum)
	if err := writeStamp(s.path(of), of); err != nil {
		s.Failed(err)
	}
}

// path is where the stamp of a file lies.
func (s Sums) path(of stamp) string {
	return filepath.Join(s.Folder, fmt.Sprintf("%x-%x.json", of.Device, of.Inode))
}

func sumOf(f *safetensors.File) []byte {
	h := sha256.New()
	_, _ = f.WriteTo(h) // a hash never refuses what it is given
	return h.Sum(nil)
}

// stampOf gives no stamp for what is not a file of the system's.
func stampOf(info fs.FileInfo) (stamp, bool) {
	if info == nil {
		return stamp{}, false
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{
		Device: sys.Dev, Inode: sys.Ino, Size: info.Size(),
		Changed: sys.Ctim.Nano(), Modified: info.ModTime().UnixNano(),
	}, true
}

// matches gives the sum that s holds if it is of the state that is now.
func (s stamp) matches(now stamp) ([]byte, bool) {
	sum, err := hex.DecodeString(s.SHA256)
	s.SHA256 = ""
	return sum, err == nil && len(sum) == sha256.Size && s == now
}

func readStamp(path string) (s stamp, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// writeStamp never leaves half a stamp: others may write the same one.
func writeStamp(path string, s stamp) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return newfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
