package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	batchItems = 500     // what the service takes at once
	batchBytes = 1 << 20 // well below what a gRPC server takes by default
	lineBytes  = 4 << 20
	// window is how many batches may be on their way: enough that the server never waits for
	// the reader, little enough that a reconnect repeats next to nothing.
	window = 8
	// How often to reconnect without any progress in between, besides what the connection
	// does by itself: about 3 s for a server that never answered, 30 s for one that is perhaps
	// being replaced.
	attemptsAtFirst, attemptsLater = 1, 8
)

// line is one item of the file.
type line[T proto.Message] struct {
	number int
	item   T
}

// importer sends a file over a bidirectional stream, batch by batch. Both imports of the
// service may be repeated without harm, so what was not answered when a connection broke is
// sent again over a new one.
type importer[T proto.Message, Req, Res any] struct {
	open    func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Req, Res], error)
	request func([]T) *Req
	// answered is told what became of a batch.
	answered func([]line[T], *Res)
}

func (im *importer[T, Req, Res]) run(ctx context.Context, batches <-chan []line[T]) error {
	var pending pending[T]
	limit := attemptsAtFirst
	for failed := 0; ; failed++ {
		before := pending.done()
		err := im.session(ctx, batches, &pending)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if pending.done() > before {
			failed, limit = 0, attemptsLater
		}
		if status.Code(err) != codes.Unavailable || failed == limit {
			return fmt.Errorf("%s: %w", pending.lines(), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(250*time.Millisecond<<failed, 8*time.Second)):
		}
	}
}

// session sends over one stream until the file ends or the stream breaks.
func (im *importer[T, Req, Res]) session(ctx context.Context, batches <-chan []line[T], p *pending[T]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := im.open(ctx)
	if err != nil {
		return err
	}
	sent := make(chan []line[T], window)
	received := make(chan error, 1)
	go func() {
		for b := range sent {
			res, err := stream.Recv()
			if err != nil {
				cancel(err)
				received <- err
				return
			}
			im.answered(b, res)
			p.pop()
		}
		_, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			err = nil
		}
		received <- err
	}()
	finish := func() error {
		close(sent)
		return <-received
	}
	send := func(b []line[T]) bool {
		items := make([]T, len(b))
		for i := range b {
			items[i] = b[i].item
		}
		// A failed Send says only EOF; the reason is what Recv gives.
		_ = stream.Send(im.request(items))
		select {
		case sent <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, b := range p.all() {
		if !send(b) {
			return finish()
		}
	}
	for {
		select {
		case b, more := <-batches:
			if !more {
				_ = stream.CloseSend()
				return finish()
			}
			p.push(b)
			if !send(b) {
				return finish()
			}
		case <-ctx.Done():
			return finish()
		}
	}
}

// pending is what was sent and not answered, oldest first.
type pending[T proto.Message] struct {
	mu      sync.Mutex
	batches [][]line[T]
	popped  int
}

func (p *pending[T]) push(b []line[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = append(p.batches, b)
}

func (p *pending[T]) pop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = p.batches[1:]
	p.popped++
}

func (p *pending[T]) all() [][]line[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.batches)
}

// lines says which lines wait for an answer.
func (p *pending[T]) lines() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) == 0 {
		return "between batches"
	}
	first, last := p.batches[0], p.batches[len(p.batches)-1]
	return fmt.Sprintf("lines %d to %d, sent and not answered", first[0].number, last[len(last)-1].number)
}

func (p *pending[T]) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.popped
}

// open opens FILE, "-" being in, and sees through gzip and a byte order mark.
func open(name string, in io.Reader) (io.Reader, func() error, error) {
	closer := func() error { return nil }
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		in, closer = f, f.Close
	}
	buffered := bufio.NewReaderSize(in, 1<<16)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), closer())
		}
		buffered = bufio.NewReaderSize(unpacked, 1<<16)
	}
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3)
	}
	return buffered, closer, nil
}

// read parses JSON Lines into batches until the input ends; blank lines are skipped. Lines
// that do not parse go to refuse. It closes out.
func read[T proto.Message](ctx context.Context, in io.Reader, fresh func() T, refuse func(int, string), out chan<- []line[T]) error {
	defer close(out)
	var batch []line[T]
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case out <- batch:
			batch, size = nil, 0
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	lines := bufio.NewReaderSize(in, 1<<16)
	for number := 1; ; number++ {
		text, err := nextLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(flush(), fmt.Errorf("line %d: %w", number, err))
		}
		if text = bytes.TrimSpace(text); len(text) > lineBytes {
			refuse(number, fmt.Sprintf("longer than %d MiB", lineBytes>>20))
		} else if len(text) > 0 {
			item := fresh()
			if err := protojson.Unmarshal(text, item); err != nil {
				refuse(number, tidy(err))
			} else {
				if len(batch) == batchItems || size+len(text) > batchBytes {
					if err := flush(); err != nil {
						return err
					}
				}
				batch, size = append(batch, line[T]{number, item}), size+len(text)
			}
		}
		if err != nil {
			return flush()
		}
	}
}

// nextLine gives the next line, of which it keeps little more than lineBytes.
func nextLine(r *bufio.Reader) (text []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(text) <= lineBytes {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

// position is where in its text protojson found an error; the text is always one line.
var position = regexp.MustCompile(`^(.*)\(line 1:(\d+)\): `)

// tidy makes protojson's errors fit to be read beside a line number: it takes away a prefix,
// the non-breaking space that is mixed in so that nobody compares the messages, and the
// line number within the line.
func tidy(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return position.ReplaceAllString(strings.TrimPrefix(text, "proto: "), "${1}column $2: ")
}

// jsonLine is the message as one line of JSON, the same bytes each time.
func jsonLine(m proto.Message) ([]byte, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
