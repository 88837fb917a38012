package changes

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
)

// bodyHash is the SHA-256 of a body in hex; empty for no body.
func bodyHash(body []byte) string {
	if body == nil {
		return ""
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// chainHash is the SHA-256, in hex, over the hash of the entry before and every field of
// this one, each preceded by its length, so that no two entries have the same image.
func chainHash(before string, e *pb.AuditEntry) string {
	var image []byte
	text := func(s string) {
		image = binary.AppendUvarint(image, uint64(len(s)))
		image = append(image, s...)
	}
	text(before)
	image = binary.AppendVarint(image, e.GetSequence())
	image = binary.AppendVarint(image, e.GetTime().AsTime().UnixMicro())
	for _, s := range []string{e.GetActor(), e.GetMethod(), e.GetResource(), e.GetRequestId(), e.GetHashBefore(), e.GetHashAfter(), e.GetNote()} {
		text(s)
	}
	image = binary.AppendVarint(image, e.GetRevision())
	sum := sha256.Sum256(image)
	return hex.EncodeToString(sum[:])
}

// appendAudit numbers, chains and stores entries, and moves the head.
func appendAudit(tx *sqldb.Tx, h head, now time.Time, entries []*pb.AuditEntry) error {
	for _, e := range entries {
		e.Actor, e.Resource, e.Note = clean(e.GetActor()), clean(e.GetResource()), clean(e.GetNote())
		h.auditSequence++
		e.Sequence, e.Time = h.auditSequence, timestamppb.New(now)
		e.ChainHash = chainHash(h.auditHash, e)
		h.auditHash = e.ChainHash
	}
	if err := writeAudit(tx, entries); err != nil {
		return err
	}
	return moveAudit(tx, h.auditSequence, h.auditHash)
}

// AuditDenied records an attempt that was refused: who, which method, on what, and why.
// Revisions do not move.
func (l *Log) AuditDenied(ctx context.Context, call Call, resource, why string) error {
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		h, err := takeHead(tx)
		if err != nil {
			return err
		}
		if err := restoreHead(tx, h.revision-1); err != nil {
			return err
		}
		now, err := tx.Time()
		if err != nil {
			return err
		}
		return appendAudit(tx, h, now, []*pb.AuditEntry{{Actor: call.Actor, Method: call.Method, Resource: resource, RequestId: call.RequestID, Note: why}})
	})
}

// VerifyAudit walks the whole audit and checks numbers and hashes; an error names the first
// entry that does not fit.
func (l *Log) VerifyAudit(ctx context.Context) (entries int64, err error) {
	before := ""
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		entries, before = 0, ""
		return readAudit(tx, 0, func(e *pb.AuditEntry) error {
			entries++
			if e.GetSequence() != entries {
				return fmt.Errorf("audit entry %d is missing", entries)
			}
			if e.GetChainHash() != chainHash(before, e) {
				return fmt.Errorf("audit entry %d was altered", entries)
			}
			before = e.GetChainHash()
			return nil
		})
	})
	return entries, err
}

// AuditAfter gives up to limit entries with a sequence above after, oldest first.
func (l *Log) AuditAfter(ctx context.Context, after int64, limit int) (entries []*pb.AuditEntry, err error) {
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		entries, err = queryAudit(tx, `WHERE sequence > $1 ORDER BY sequence LIMIT $2`, after, limit)
		return err
	})
	return entries, err
}

// AuditBefore gives up to limit entries with a sequence below before, newest first.
func (l *Log) AuditBefore(ctx context.Context, before int64, limit int) (entries []*pb.AuditEntry, err error) {
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		entries, err = queryAudit(tx, `WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2`, before, limit)
		return err
	})
	return entries, err
}
