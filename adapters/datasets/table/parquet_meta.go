package table

import "fmt"

// The numbers in this file are those of parquet.thrift, the definition of the format.

// parquetFile is what the end of a file says of it, as far as it matters here.
type parquetFile struct {
	schema []schemaElement // depth first; the first is the root
	rows   int64
	groups []rowGroup
}

type schemaElement struct {
	name      string
	physical  int // one of the physical types; -1 for a structure
	repeated  bool
	optional  bool
	children  int
	converted int // -1 for none
	logical   int // -1 for none
	unsigned  bool
}

type rowGroup struct {
	rows   int64
	chunks []columnChunk // one for each leaf of the schema
}

// columnChunk is the part of a column that is in one row group.
type columnChunk struct {
	codec     int64
	values    int64
	start     int64 // of its first page
	bytes     int64
	elsewhere bool // in another file
}

// Physical types.
const (
	physicalBoolean   = 0
	physicalInt32     = 1
	physicalInt64     = 2
	physicalFloat     = 4
	physicalDouble    = 5
	physicalByteArray = 6
)

// Most columns, and chunks of columns, of a file.
const (
	maxParquetColumns = 10_000
	maxParquetChunks  = 1_000_000
)

func parseParquetFile(data []byte) (*parquetFile, error) {
	t := &thrift{data: data}
	f := &parquetFile{}
	chunks := 0
	seen := map[int]bool{}
	t.fields(kindStruct, func(id int, k kind) bool {
		seen[id] = true
		switch id {
		case 2:
			t.list(k, func(k kind) {
				if len(f.schema) == maxParquetColumns {
					t.fail("it has more than %d columns", maxParquetColumns)
				}
				f.schema = append(f.schema, t.schemaElement(k))
			})
		case 3:
			f.rows = t.int(k)
		case 4:
			t.list(k, func(k kind) {
				g := t.rowGroup(k)
				if chunks += len(g.chunks) + 1; chunks > maxParquetChunks {
					t.fail("it has more than %d parts", maxParquetChunks)
				}
				f.groups = append(f.groups, g)
			})
		default:
			return false
		}
		return true
	})
	for _, needed := range []int{2, 3, 4} {
		if !seen[needed] {
			t.fail("part %d is missing", needed)
		}
	}
	if t.err != nil {
		return nil, t.err
	}
	return f, f.check()
}

// check holds the parts against each other.
func (f *parquetFile) check() error {
	if len(f.schema) == 0 {
		return fmt.Errorf("%w: it has no schema", errThrift)
	}
	leaves := 0
	for _, e := range f.schema {
		if e.physical >= 0 {
			leaves++
		}
	}
	rows := int64(0)
	for i, g := range f.groups {
		if len(g.chunks) != leaves || g.rows < 0 {
			return fmt.Errorf("%w: row group %d has %d columns and %d rows; the schema has %d columns", errThrift, i, len(g.chunks), g.rows, leaves)
		}
		rows += g.rows
	}
	if rows != f.rows || rows < 0 {
		return fmt.Errorf("%w: it has %d rows, its row groups have %d", errThrift, f.rows, rows)
	}
	return nil
}

func (t *thrift) schemaElement(k kind) schemaElement {
	e := schemaElement{physical: -1, converted: -1, logical: -1}
	t.fields(k, func(id int, k kind) bool {
		switch id {
		case 1:
			e.physical = int(t.int(k))
		case 3:
			repetition := t.int(k)
			e.optional, e.repeated = repetition == 1, repetition == 2
		case 4:
			e.name = t.text(k)
		case 5:
			e.children = int(t.int(k))
		case 6:
			e.converted = int(t.int(k))
		case 10:
			t.logicalType(k, &e)
		default:
			return false
		}
		return true
	})
	return e
}

// logicalType reads a union: a structure with one field, whose id says which.
func (t *thrift) logicalType(k kind, e *schemaElement) {
	const integer = 10
	t.fields(k, func(id int, k kind) bool {
		e.logical = id
		if id != integer {
			return false
		}
		t.fields(k, func(id int, k kind) bool {
			if id != 2 {
				return false
			}
			e.unsigned = !t.bool(k)
			return true
		})
		return true
	})
}

func (t *thrift) rowGroup(k kind) (g rowGroup) {
	t.fields(k, func(id int, k kind) bool {
		switch id {
		case 1:
			t.list(k, func(k kind) {
				if len(g.chunks) == maxParquetColumns {
					t.fail("a row group has more than %d columns", maxParquetColumns)
				}
				g.chunks = append(g.chunks, t.columnChunk(k))
			})
		case 3:
			g.rows = t.int(k)
		default:
			return false
		}
		return true
	})
	return g
}

func (t *thrift) columnChunk(k kind) (c columnChunk) {
	t.fields(k, func(id int, k kind) bool {
		switch id {
		case 1:
			c.elsewhere = t.text(k) != ""
		case 3:
			t.columnMetaData(k, &c)
		case 8:
			t.fail("column data is encrypted")
		default:
			return false
		}
		return true
	})
	return c
}

func (t *thrift) columnMetaData(k kind, c *columnChunk) {
	dictionary := int64(0)
	t.fields(k, func(id int, k kind) bool {
		switch id {
		case 4:
			c.codec = t.int(k)
		case 5:
			c.values = t.int(k)
		case 7:
			c.bytes = t.int(k)
		case 9:
			c.start = t.int(k)
		case 11:
			dictionary = t.int(k)
		default:
			return false
		}
		return true
	})
	if dictionary > 0 && dictionary < c.start {
		c.start = dictionary // it stands before the data
	}
}

// parquetColumns gives the columns at the top of the schema.
func (f *parquetFile) columns() (out []parquetColumn, err error) {
	leaf, at := 0, 1
	for range f.schema[0].children {
		if at >= len(f.schema) {
			return nil, fmt.Errorf("%w: the schema breaks off", errThrift)
		}
		e := f.schema[at]
		c := parquetColumn{name: e.name, leaf: leaf, optional: e.optional, nested: e.repeated || e.physical < 0 || e.children != 0}
		c.cells, c.boolean = e.cells(), e.plain() && e.physical == physicalBoolean
		for need := 1; need > 0; at++ { // pass what is below it
			if at >= len(f.schema) {
				return nil, fmt.Errorf("%w: the schema breaks off", errThrift)
			}
			below := f.schema[at]
			if need += below.children - 1; below.children < 0 {
				return nil, fmt.Errorf("%w: column %q has %d children", errThrift, below.name, below.children)
			}
			if below.physical >= 0 {
				leaf++
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// pageHeader stands before each page.
type pageHeader struct {
	kind               int64
	size               int64 // unpacked
	packed             int64 // as it stands in the file
	checksum           uint32
	checked            bool
	values             int64 // nulls are counted
	encoding           int64
	levelEncoding      int64 // of a page of version 1
	definition         int64 // bytes of levels of a page of version 2
	repetition         int64
	uncompressedValues bool
}

// Kinds of pages.
const (
	dataPage       = 0
	indexPage      = 1
	dictionaryPage = 2
	dataPageV2     = 3
)

// parsePageHeader also gives the header's length.
func parsePageHeader(data []byte) (h pageHeader, length int, err error) {
	t := &thrift{data: data}
	t.fields(kindStruct, func(id int, k kind) bool {
		switch id {
		case 1:
			h.kind = t.int(k)
		case 2:
			h.size = t.int(k)
		case 3:
			h.packed = t.int(k)
		case 4:
			h.checksum, h.checked = uint32(t.int(k)), true
		case 5, 7: // of a data page of version 1, of a dictionary: they begin alike
			t.fields(k, func(id int, k kind) bool { return t.pageHeaderV1(id, k, &h) })
		case 8:
			t.fields(k, func(id int, k kind) bool { return t.pageHeaderV2(id, k, &h) })
		default:
			return false
		}
		return true
	})
	return h, len(data) - len(t.data), t.err
}

func (t *thrift) pageHeaderV1(id int, k kind, h *pageHeader) bool {
	switch {
	case id == 1:
		h.values = t.int(k)
	case id == 2:
		h.encoding = t.int(k)
	case id == 3 && k != kindTrue && k != kindFalse: // a dictionary's tells whether it is sorted
		h.levelEncoding = t.int(k)
	default:
		return false
	}
	return true
}

func (t *thrift) pageHeaderV2(id int, k kind, h *pageHeader) bool {
	switch id {
	case 1:
		h.values = t.int(k)
	case 4:
		h.encoding = t.int(k)
	case 5:
		h.definition = t.int(k)
	case 6:
		h.repetition = t.int(k)
	case 7:
		h.uncompressedValues = !t.bool(k)
	default:
		return false
	}
	return true
}
