package tokencache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFile puts a secret into a file in one step, so that nobody ever reads half of
// one, or one with another mode; after a crash it is the old one or the new one.
func replaceFile(name string, mode fs.FileMode, content []byte) error {
	folder := filepath.Dir(name)
	f, err := os.CreateTemp(folder, "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f, mode, content), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(folder)
}

func fill(f *os.File, mode fs.FileMode, content []byte) error {
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil { // not at making it: the umask would have a say
		return err
	}
	return f.Sync()
}

// syncFolder makes a rename last over a crash.
func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
