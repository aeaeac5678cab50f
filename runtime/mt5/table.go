package mt5

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// table holds the adapters that rows use now, stacked on the device: one slot a
// row of it, slot 0 all ones, which is the base. It is a cache: whatever is missing
// is copied from the host again. It is used on the thread only.
type table struct {
	layout
	owned    *torch.Scope
	maxBytes int64

	slots int          // height, slot 0 included
	laid  int          // width of data, which is less than that of the columns until the next fit
	data  torch.Tensor // [slots, width] float32
	row   []float32    // on its way to a slot
	room  torch.Tensor // [roomy, width] float32: what the last batch's rows have
	roomy int          // rows
	used  *simplelru.LRU[*spec.Vectors, int]
	free  []int

	version        int          // of where data and the columns lie
	copies, height atomic.Int64 // of used and slots, for other threads
}

// firstSlots is the height of a new table.
const firstSlots = 16

func newTable(s *torch.Scope, config *spec.Config, maxBytes int64) (*table, error) {
	t := &table{layout: newLayout(config), owned: s.NewScope(), maxBytes: maxBytes}
	t.used, _ = simplelru.NewLRU[*spec.Vectors, int](1, nil) // until there is a table
	return t, t.widen(config.DefaultSites())
}

// place puts the adapters of a batch into slots and gives the slot of each row.
func (t *table) place(s *torch.Scope, adapters []*spec.Vectors) ([]int64, error) {
	defer t.count()
	if err := t.fit(adapters); err != nil {
		return nil, err
	}
	for _, v := range adapters { // touched first, so that none of them gives way to another
		t.used.Get(v)
	}
	slots := make([]int64, len(adapters))
	for i, v := range adapters {
		if v == nil {
			continue
		}
		slot, ok := t.used.Get(v)
		if !ok {
			slot = t.take()
			t.write(s, slot, v)
			if err := s.Err(); err != nil {
				t.free = append(t.free, slot)
				return nil, fmt.Errorf("mt5: adapter: %w", err)
			}
			t.used.Add(v, slot)
		}
		slots[i] = int64(slot)
	}
	return slots, nil
}

// fit makes the table wide enough for the sites of the adapters and high enough to
// hold all of them at once; higher still while that stays within maxBytes.
func (t *table) fit(adapters []*spec.Vectors) error {
	distinct := map[*spec.Vectors]bool{}
	missing := 0
	for _, v := range adapters {
		if v == nil || distinct[v] {
			continue
		}
		distinct[v] = true
		if t.used.Contains(v) {
			continue
		}
		missing++
		if err := t.widen(v.Sites); err != nil {
			return err
		}
	}
	if len(distinct) == 0 {
		return nil
	}
	need := max(t.slots, firstSlots)
	for need <= len(distinct) {
		need *= 2
	}
	slots := need
	for slots <= t.used.Len()+missing && t.bytes(2*slots) <= t.maxBytes {
		slots *= 2
	}
	if t.laid == t.width && slots == t.slots {
		return nil
	}
	err := t.reset(slots)
	if err != nil && slots > need { // the memory is not there: what others do not need is left to them
		t.maxBytes = t.bytes(slots) / 2
		err = t.reset(need)
	}
	return err
}

func (t *table) bytes(slots int) int64 { return int64(slots) * int64(t.width) * 4 }

// reset makes an empty table of the given height. What was in it comes back from
// the host when rows ask for it. After an error there is none, until the next fit.
func (t *table) reset(slots int) error {
	t.owned.Free()
	t.data, t.slots, t.laid, t.room, t.roomy = torch.Tensor{}, 0, 0, torch.Tensor{}, 0
	t.version++
	data := t.owned.Full(1, torch.Float32, int64(slots), int64(t.width))
	if err := t.owned.Err(); err != nil {
		return fmt.Errorf("mt5: device table of %d adapters, %d bytes: %w", slots, t.bytes(slots), err)
	}
	used, err := simplelru.NewLRU[*spec.Vectors, int](slots-1, nil)
	if err != nil {
		return err
	}
	t.data, t.slots, t.laid, t.used, t.free = data, slots, t.width, used, t.free[:0]
	for i := slots - 1; i > 0; i-- {
		t.free = append(t.free, i)
	}
	t.count()
	return nil
}

// take gives a free slot, or that of the adapter unused for longest.
func (t *table) take() int {
	if n := len(t.free); n > 0 {
		slot := t.free[n-1]
		t.free = t.free[:n-1]
		return slot
	}
	_, slot, _ := t.used.RemoveOldest()
	return slot
}

func (t *table) write(s *torch.Scope, slot int, v *spec.Vectors) {
	to := s.Narrow(t.data, 0, int64(slot), 1)
	if t.laidOutAs(v) {
		s.Write(to, v.Data)
		return
	}
	t.row = slices.Grow(t.row[:0], t.width)[:t.width]
	for i := range t.row {
		t.row[i] = 1
	}
	at := 0
	for _, site := range v.Sites {
		copy(t.row[t.first[site]:], v.Data[at:at+site.Size])
		at += site.Size
	}
	s.Write(to, t.row)
}

// laidOutAs tells whether an adapter's vectors are the columns, in their order.
func (t *table) laidOutAs(v *spec.Vectors) bool {
	at := 0
	for _, site := range v.Sites {
		if t.first[site] != at {
			return false
		}
		at += site.Size
	}
	return at == t.width
}

func (t *table) drop(v *spec.Vectors) {
	if slot, ok := t.used.Peek(v); ok {
		t.used.Remove(v)
		t.free = append(t.free, slot)
		t.count()
	}
}

// count tells other threads how full the table is.
func (t *table) count() {
	t.copies.Store(int64(t.used.Len()))
	t.height.Store(int64(t.slots))
}

// gatherBatch is gather for a batch as a whole, once for each: until the next one. On a CPU it
// uses the same memory again, as the system would give it new each time where many rows have
// adapters of their own, and zero it first, which takes longer than to fill it.
func (t *table) gatherBatch(s *torch.Scope, slots []int64, dtype torch.DType) scales {
	n := len(slots)
	if s.Device().IsCUDA() || dtype != torch.Float32 || uniform(slots) {
		return t.gather(s, slots, dtype)
	}
	if n > t.roomy {
		more := max(n, 2*t.roomy)
		room := s.Full(0, torch.Float32, int64(more), int64(t.width))
		if s.Err() != nil {
			return scales{}
		}
		t.owned.Drop(t.room)
		t.room, t.roomy = s.Give(t.owned, room), more
	}
	rows := s.Narrow(t.room, 0, 0, int64(n))
	s.IndexSelectInto(rows, t.data, s.Int64s(slots, int64(n)))
	return t.split(s, rows)
}

// uniform tells whether all rows have one slot.
func uniform(slots []int64) bool {
	for _, slot := range slots {
		if slot != slots[0] {
			return false
		}
	}
	return true
}

// gather reads the slots of rows.
func (t *table) gather(s *torch.Scope, slots []int64, dtype torch.DType) scales {
	same := uniform(slots)
	switch {
	case same && slots[0] == 0:
		return scales{}
	case same:
		return t.split(s, s.To(s.Narrow(t.data, 0, slots[0], 1), dtype))
	}
	return t.split(s, s.To(s.IndexSelect(t.data, 0, s.Int64s(slots, int64(len(slots)))), dtype))
}
