// Package disclosure holds the law by market as versioned data: what must be so before a
// film is published, what must be so while it is shown, and what a surface must say about
// how it was made. Pure functions over messages; the time is an argument, so that a time in
// the past gives what held then. It is written from research notes and is not legal advice.
//
// # Promises
//
//   - There is always a disclosure. Where no rule of a market is in force, and in every market
//     not known here, the house rule speaks, which is the strictest.
//   - A rule is never changed once it was in force: it gets an end, and another follows it.
//   - The bytes of a GB 45438 label are kept as found. A label that is not well-formed counts
//     as suspicion, never as none.
//   - A disclosure may be strengthened, never weakened.
//
// # Licences in CN
//
// Kinds accepted: "online-film" for features (15:00 and more), "micro-drama-filing" for
// shorts (up to 14:59). The kind follows from the runtime, not from what a film calls itself.
// A film without a runtime is taken for a feature.
//
// A film is made for children if one of its genres says so, or its age band is below AGE_12.
//
// # Why
//
// Publish rules are asked of the markets that availability names. A film available
// "everywhere" names none and would slip past them, so the showing rules close the market to
// it wherever it came from. Bans give the times too, so that the gate need not ask again.
//
// In CN the text holds the Chinese words in every language, because the standard asks for
// them; the viewer's language follows.
//
// # Rejected
//
// Rules in a configuration file or in the store: a rule is a sentence, code and tests; its
// text alone can be changed without knowing what follows. Texts per film: they would be
// edited, and so weakened.
package disclosure
