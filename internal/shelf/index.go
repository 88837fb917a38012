package shelf

import (
	"hash/maphash"
	"sync/atomic"
)

// chunk is how many slots lie together. A change copies one chunk and the list of chunks:
// both about 8 KiB at a million films.
const chunk = 1024

// cell is what outlives the versions of one film: its name and its marks. Cells never move.
type cell struct {
	name    string
	version atomic.Uint64
	// closed is the revision below which the film's entry is hidden.
	closed atomic.Int64
}

// index gives each name a slot for ever. Readers never wait; one writer at a time adds.
type index struct {
	seed  maphash.Seed
	table atomic.Pointer[[]atomic.Uint32] // open addressing: slot+1, 0 = free; a power of two long
	cells atomic.Pointer[[]*[chunk]cell]
	used  uint32 // the writer's
}

func newIndex() *index {
	ix := &index{seed: maphash.MakeSeed()}
	table, cells := make([]atomic.Uint32, 2*chunk), []*[chunk]cell{}
	ix.table.Store(&table)
	ix.cells.Store(&cells)
	return ix
}

// find gives the slot of a name.
func (ix *index) find(name string) (uint32, bool) {
	table := *ix.table.Load()
	mask := uint64(len(table) - 1)
	for i := maphash.String(ix.seed, name) & mask; ; i = (i + 1) & mask {
		at := table[i].Load()
		if at == 0 {
			return 0, false
		}
		if ix.cell(at-1).name == name {
			return at - 1, true
		}
	}
}

// cell gives a slot's cell; the slot must be in use.
func (ix *index) cell(slot uint32) *cell { return &(*ix.cells.Load())[slot/chunk][slot%chunk] }

// add gives the slot of a name, a new one if need be. Only the writer may call it.
func (ix *index) add(name string) uint32 {
	if slot, ok := ix.find(name); ok {
		return slot
	}
	slot := ix.used
	if int(slot/chunk) == len(*ix.cells.Load()) {
		grown := append((*ix.cells.Load())[:slot/chunk:slot/chunk], new([chunk]cell))
		ix.cells.Store(&grown)
	}
	ix.cell(slot).name = name
	ix.used++
	if table := *ix.table.Load(); 2*int(ix.used) > len(table) {
		grown := make([]atomic.Uint32, 2*len(table))
		for i := range table {
			if at := table[i].Load(); at != 0 {
				ix.place(grown, at)
			}
		}
		ix.place(grown, slot+1)
		ix.table.Store(&grown)
	} else {
		ix.place(table, slot+1)
	}
	return slot
}

func (ix *index) place(table []atomic.Uint32, at uint32) {
	mask := uint64(len(table) - 1)
	i := maphash.String(ix.seed, ix.cell(at-1).name) & mask
	for table[i].Load() != 0 {
		i = (i + 1) & mask
	}
	table[i].Store(at)
}
