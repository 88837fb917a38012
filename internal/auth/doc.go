// Package auth says who calls: callers and their claims, tokens, the policy read from the
// schema, and the keys everything sealed or hashed is derived from.
//
// Invariants: a caller without roles may call nothing; a method without the access option
// does not start; claims narrow a viewer and never widen it; nothing here logs or prints a
// secret or a token.
//
// Why one root secret: an operator keeps one thing safe, and HKDF gives each purpose a key
// that says nothing about the others. Why tokens are sealed and not signed: a page token
// carries raw positions in a list, and the gaps between them would tell what was hidden.
package auth
