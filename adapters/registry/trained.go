package registry

import (
	"context"
	"fmt"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/adapters/store"
)

// Trainable tells whether an id, without a revision, may get versions by training.
// Errors wrap adapters.ErrID or ErrFixed.
func (r *Registry) Trainable(id string) error {
	_, err := r.localID(id)
	return err
}

// PublishTrained makes the result of a training a version, as Upload does with a folder
// that a caller sends.
func (r *Registry) PublishTrained(ctx context.Context, t adapters.TrainedVersion) (adapters.Published, error) {
	id, err := r.localID(t.ID)
	if err != nil {
		return adapters.Published{}, err
	}
	c, err := r.candidate(ctx, id, peft.Files(t.Files))
	if err != nil {
		return adapters.Published{}, err
	}
	defer r.discard(c)
	c.source, c.origin, c.activate = store.SourceTrain, t.Origin, t.Activate
	if t.IfActive != nil {
		number := 0
		if *t.IfActive != "" {
			var ok bool
			if number, ok = versionNumber(*t.IfActive); !ok {
				return adapters.Published{}, fmt.Errorf("registry: %q names no version", *t.IfActive)
			}
		}
		c.ifActive = &number
	}
	return r.publish(ctx, c)
}
