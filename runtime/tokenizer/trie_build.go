package tokenizer

// blockUnits is the number of units that one base can reach.
const blockUnits = 256

const (
	// openBlocks is how many blocks at the end of the array are searched for free units; earlier ones are closed. A
	// larger window packs tighter and builds slower.
	openBlocks = 24
	// maxProbes bounds the search for one base.
	maxProbes = 4096
	noUnit    = ^uint32(0)
)

// trieBuilder places units. The free units of the open blocks form a circular list.
type trieBuilder struct {
	key        func(id int32) string
	order      []sortKey
	units      []trieUnit
	next, prev []uint32
	firstFree  uint32
	closed     int // blocks before this one are closed
}

// subtree is a node to be placed: the keys order[lo:hi] share their first depth bytes and run through unit.
type subtree struct {
	lo, hi, depth int
	unit          uint32
}

func (b *trieBuilder) build() *trie {
	capacity := 5*len(b.order)/2 + blockUnits // natural vocabularies need a little more than two units a key
	b.units = make([]trieUnit, 0, capacity)
	b.next, b.prev = make([]uint32, 0, capacity), make([]uint32, 0, capacity)
	b.addBlock()
	b.unlink(0)
	b.units[0].parent = rootParent
	stack := []subtree{{hi: len(b.order)}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = b.place(s, stack[:len(stack)-1])
	}
	return &trie{units: append([]trieUnit(nil), b.units...)}
}

// place sets the id and the children of a node and pushes the children.
func (b *trieBuilder) place(s subtree, stack []subtree) []subtree {
	for s.lo < s.hi && len(b.key(b.order[s.lo].id)) == s.depth {
		b.units[s.unit].id = b.order[s.lo].id
		s.lo++
	}
	if s.lo == s.hi {
		return stack
	}
	var labels [256]byte
	n := 0
	first := len(stack)
	for i := s.lo; i < s.hi; i++ {
		c := b.byteAt(i, s.depth)
		if n == 0 || labels[n-1] != c {
			labels[n] = c
			n++
			stack = append(stack, subtree{lo: i, depth: s.depth + 1})
		}
		stack[len(stack)-1].hi = i + 1
	}
	base := b.findBase(labels[:n])
	b.units[s.unit].base = base
	for k, c := range labels[:n] {
		child := base ^ uint32(c)
		b.unlink(child)
		b.units[child].parent = s.unit
		stack[first+k].unit = child
	}
	return stack
}

func (b *trieBuilder) byteAt(i, depth int) byte {
	k := b.order[i]
	if depth < 8 {
		return byte(k.head >> (56 - 8*depth))
	}
	return b.key(k.id)[depth]
}

// findBase returns a base whose units for all labels are free.
func (b *trieBuilder) findBase(labels []byte) uint32 {
	for unit, n := b.firstFree, 0; unit != noUnit && n < maxProbes; n++ {
		base := unit ^ uint32(labels[0])
		if b.fits(base, labels[1:]) {
			return base
		}
		if unit = b.next[unit]; unit == b.firstFree {
			break
		}
	}
	start := uint32(len(b.units))
	b.addBlock()
	return start
}

func (b *trieBuilder) fits(base uint32, labels []byte) bool {
	for _, c := range labels {
		if b.units[base^uint32(c)].parent != freeUnit {
			return false
		}
	}
	return true
}

func (b *trieBuilder) addBlock() {
	start := len(b.units)
	for i := start; i < start+blockUnits; i++ {
		b.units = append(b.units, trieUnit{parent: freeUnit, id: -1})
		b.next = append(b.next, 0)
		b.prev = append(b.prev, 0)
		b.link(uint32(i))
	}
	if len(b.units)/blockUnits-b.closed > openBlocks {
		b.closeBlock()
	}
}

func (b *trieBuilder) closeBlock() {
	for i := b.closed * blockUnits; i < (b.closed+1)*blockUnits; i++ {
		if b.units[i].parent == freeUnit {
			b.unlink(uint32(i))
		}
	}
	b.closed++
}

// link appends unit i to the list of free units.
func (b *trieBuilder) link(i uint32) {
	if b.firstFree == noUnit {
		b.firstFree, b.next[i], b.prev[i] = i, i, i
		return
	}
	last := b.prev[b.firstFree]
	b.next[last], b.prev[i] = i, last
	b.next[i], b.prev[b.firstFree] = b.firstFree, i
}

func (b *trieBuilder) unlink(i uint32) {
	if b.next[i] == i {
		b.firstFree = noUnit
		return
	}
	b.next[b.prev[i]], b.prev[b.next[i]] = b.next[i], b.prev[i]
	if b.firstFree == i {
		b.firstFree = b.next[i]
	}
}
