// Package demo is the sample season that `theater demo` shows: films invented for it, the
// known winners of the channel's competition, one day of an audience, and poster art drawn
// on request.
//
// # Why
//
// A newcomer should meet the service with something on every shelf: features of every kind
// in Chinese and English, children's films that are cleared, films that are announced and
// films about to leave, licence numbers where a market asks for them. The season goes in
// through the same RPCs a studio would use, so the demo is also a walk through the front
// door.
//
// Titles, people and licence numbers in catalogue.tsv are made up. The four winners are
// real works; what is not public about them (their exact length, the other titles in
// Chinese) is left out or, for the length, set to the competition's limit of five minutes.
//
// # Rejected
//
// Films as protobuf JSON: ten times as long, and what follows from the band or the form
// (ratings, licences, labels) would be written by hand seventy times.
package demo
