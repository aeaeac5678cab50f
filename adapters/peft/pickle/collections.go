package pickle

import (
	"errors"
	"fmt"
	"slices"
)

// tuple makes a tuple of the marked values.
func (m *machine) tuple() error {
	items, err := m.popMarked()
	if err != nil {
		return err
	}
	return m.push(tuple(slices.Clone(items)))
}

// tupleOf makes a tuple of the n values on top of the stack.
func (m *machine) tupleOf(n int) error {
	t := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		var err error
		if t[i], err = m.pop(); err != nil {
			return err
		}
	}
	return m.push(t)
}

func (m *machine) appendOne() error {
	item, err := m.pop()
	if err != nil {
		return err
	}
	return m.extend(item)
}

func (m *machine) appendMarked() error {
	items, err := m.popMarked()
	if err != nil {
		return err
	}
	return m.extend(items...)
}

// extend appends to the list on top of the stack.
func (m *machine) extend(items ...any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	l, ok := v.(*list)
	if !ok {
		return fmt.Errorf("it appends to %s, not to a list", kind(v))
	}
	l.items = append(l.items, items...)
	return nil
}

func (m *machine) setItem() error {
	value, err := m.pop()
	if err != nil {
		return err
	}
	key, err := m.pop()
	if err != nil {
		return err
	}
	return m.update(key, value)
}

func (m *machine) setItems() error {
	items, err := m.popMarked()
	if err != nil {
		return err
	}
	return m.update(items...)
}

// update adds keys and values, one after another, to the dict on top of the stack.
func (m *machine) update(items ...any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	d, ok := v.(*dict)
	if !ok {
		return fmt.Errorf("it sets items of %s, not of a dict", kind(v))
	}
	if len(items)%2 != 0 {
		return errors.New("the key of a dict's last item has no value")
	}
	for i := 0; i < len(items); i += 2 {
		if err := d.set(items[i], items[i+1]); err != nil {
			return err
		}
	}
	return nil
}
