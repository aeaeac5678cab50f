package main

import (
	"os"
	"path/filepath"

	"valence/handlers"
)

// describe tells callers of the base.
func (f *baseFlags) describe(s *stack) handlers.Base {
	return handlers.Base{
		Name: publicName(s.base.Name), Digest: s.base.Digest(), DType: s.model.Precision(), Device: s.thread.Device().String(),
		Config: s.base.Config, MaxTokens: f.MaxTokens,
	}
}

// publicName is the last part of a folder's path, which callers need not know, and any
// other name as it is.
func publicName(base string) string {
	if _, err := os.Stat(base); err != nil {
		return base
	}
	if full, err := filepath.Abs(base); err == nil {
		base = full
	}
	return filepath.Base(base)
}
