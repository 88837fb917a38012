package demo

import (
	_ "embed"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

//go:embed catalogue.tsv
var catalogue string

// work is one line of catalogue.tsv.
type work struct {
	id          string
	kind        pb.Film_ContentType
	genres      []string
	minutes     int
	band        pb.Film_AgeBand
	cleared     bool
	year, month int32
	markets     string // "*", "coming", "leaving" or a list
	title       map[string]string
	director    map[string]string
	synopsis    map[string]string
	tags        []string
}

// works reads the embedded catalogue; it is part of the program, so a bad line is a defect.
func works() []work {
	var all []work
	for n, line := range strings.Split(strings.TrimSpace(catalogue), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 14 {
			panic(fmt.Sprintf("catalogue.tsv:%d: %d columns, want 14", n+1, len(f)))
		}
		minutes, err := strconv.Atoi(f[3])
		if err != nil {
			panic(fmt.Sprintf("catalogue.tsv:%d: minutes: %v", n+1, err))
		}
		var year, month int32
		if _, err := fmt.Sscanf(f[6], "%d-%d", &year, &month); err != nil {
			panic(fmt.Sprintf("catalogue.tsv:%d: released: %v", n+1, err))
		}
		all = append(all, work{
			id: f[0], kind: pb.Film_ContentType(pb.Film_ContentType_value[f[1]]), genres: strings.Split(f[2], ","),
			minutes: minutes, band: pb.Film_AgeBand(pb.Film_AgeBand_value[f[4]]), cleared: f[5] == "yes",
			year: year, month: month, markets: f[7], title: both(f[8], f[9]), director: both(f[10], f[11]), synopsis: both(f[12], f[13]),
		})
	}
	return append(all, winners()...)
}

func both(zh, en string) map[string]string {
	texts := map[string]string{"en": en}
	if zh != "" {
		texts["zh-Hans"] = zh
	}
	return texts
}

// winners are the known prize-winning shorts of the competition of November 2025.
func winners() []work {
	short := func(id, zh, en, zhBy, enBy, prize string, about map[string]string) work {
		return work{id: id, kind: pb.Film_FILM, genres: []string{"drama"}, minutes: 5, band: pb.Film_AGE_12, year: 2025, month: 11, markets: "*",
			title: both(zh, en), director: both(zhBy, enBy), synopsis: about, tags: []string{"competition-2025", prize}}
	}
	return []work{
		short("under-the-fireworks-lies-my-home", "烟花底下有我家", "Under the Fireworks Lies My Home", "陈友学", "Chen Youxue", "first-prize",
			both("首届竞赛一等奖作品，十天完成。", "First prize of the first competition, made in ten days.")),
		short("a-trees-fantasy", "", "A Tree's Fantasy", "", "Wen Ye", "second-prize", both("首届竞赛二等奖作品。", "A second prize of the first competition.")),
		short("alaya", "", "Alaya", "", "Pan Yu", "second-prize", both("首届竞赛二等奖作品。", "A second prize of the first competition.")),
		short("white-steed", "", "White Steed", "", "Li Dan and team", "third-prize", both("首届竞赛三等奖作品。", "A third prize of the first competition.")),
	}
}

// Genres are the vocabulary the films use.
func Genres() []*pb.Genre {
	names := []struct{ slug, zh, en string }{
		{"adventure", "冒险", "Adventure"}, {"children", "儿童", "Children"}, {"comedy", "喜剧", "Comedy"}, {"documentary", "纪实", "Documentary"},
		{"drama", "剧情", "Drama"}, {"family", "家庭", "Family"}, {"fantasy", "奇幻", "Fantasy"}, {"history", "历史", "History"},
		{"horror", "恐怖", "Horror"}, {"music", "音乐", "Music"}, {"mystery", "悬疑", "Mystery"}, {"romance", "爱情", "Romance"},
		{"sci-fi", "科幻", "Science fiction"}, {"thriller", "惊悚", "Thriller"}, {"wuxia", "武侠", "Wuxia"},
	}
	var genres []*pb.Genre
	for _, g := range names {
		genres = append(genres, &pb.Genre{Name: "genres/" + g.slug, DisplayNames: both(g.zh, g.en), Children: g.slug == "children"})
	}
	return genres
}

// Films are the season as of now: announced films start in two weeks, leaving ones end in
// six days.
func Films(now time.Time) []*pb.Film {
	var films []*pb.Film
	for _, w := range works() {
		films = append(films, w.film(now))
	}
	return films
}

func (w work) film(now time.Time) *pb.Film {
	f := &pb.Film{
		Name: "films/" + w.id, DefaultLanguage: "en", Localizations: map[string]*pb.FilmLocalization{},
		Runtime: durationpb.New(time.Duration(w.minutes) * time.Minute), ContentType: w.kind, Genres: w.genres, Tags: w.tags,
		Countries: []string{"CN"}, Languages: []string{"zh"}, ReleaseDate: &pb.PartialDate{Year: w.year, Month: w.month},
		Availability: w.availability(now), AgeBand: w.band, Ratings: w.ratings(), Licenses: w.licenses(),
		Credits: []*pb.Credit{{Role: "director", Names: w.director}},
		Media: []*pb.Media{
			{Kind: pb.Media_MAIN, AssetId: w.id + "-main", Duration: durationpb.New(time.Duration(w.minutes) * time.Minute), AudioLanguages: []string{"zh"}, SubtitleLanguages: []string{"en", "zh-Hans"}},
			{Kind: pb.Media_TRAILER, AssetId: w.id + "-trailer", Duration: durationpb.New(90 * time.Second), AudioLanguages: []string{"zh"}},
		},
		Provenance: w.provenance(),
	}
	for language, synopsis := range w.synopsis {
		title := w.title[language]
		if title == "" {
			title = w.title["en"]
		}
		f.Localizations[language] = &pb.FilmLocalization{Title: title, Synopsis: synopsis}
	}
	for _, size := range []int32{300, 600} {
		f.Artwork = append(f.Artwork, &pb.Artwork{Kind: pb.Artwork_POSTER, Uri: fmt.Sprintf("/art/%s/poster.svg?w=%d", w.id, size), Width: size, Height: size * 3 / 2, Alt: w.title["en"]})
	}
	f.Artwork = append(f.Artwork, &pb.Artwork{Kind: pb.Artwork_BACKDROP, Uri: fmt.Sprintf("/art/%s/backdrop.svg?w=1280", w.id), Width: 1280, Height: 720, Alt: w.title["en"]})
	if w.cleared || w.band < pb.Film_AGE_12 {
		// China asks for a review of all that is offered to children; what was not made for
		// them is cleared for the older ones only.
		cleared := pb.Film_AGE_12
		if w.cleared {
			cleared = w.band
		}
		f.MinorsReview = &pb.MinorsReview{Reviewer: "Children's desk", ReviewTime: timestamppb.New(time.Date(int(w.year), time.Month(w.month), 1, 0, 0, 0, 0, time.UTC)), AgeBand: cleared}
	}
	return f
}

var everywhere = []string{"CN", "GB", "SG", "US"}

func (w work) availability(now time.Time) []*pb.Availability {
	window := &pb.Availability{Markets: everywhere, Licensor: "AI Theater"}
	day := now.UTC().Truncate(24 * time.Hour)
	switch w.markets {
	case "*":
	case "coming":
		window.AnnounceTime, window.StartTime = timestamppb.New(day), timestamppb.New(day.AddDate(0, 0, 14))
	case "leaving":
		window.EndTime = timestamppb.New(day.AddDate(0, 0, 6))
	default:
		window.Markets = strings.Split(w.markets, ",")
	}
	return []*pb.Availability{window}
}

// ratings gives each market's usual code for the band; China rates nothing.
func (w work) ratings() []*pb.Rating {
	codes := map[pb.Film_AgeBand][3]string{ // US, GB, SG
		pb.Film_ALL: {"G", "U", "G"}, pb.Film_AGE_3: {"G", "U", "G"}, pb.Film_AGE_8: {"PG", "PG", "PG"},
		pb.Film_AGE_12: {"PG-13", "12A", "PG13"}, pb.Film_AGE_16: {"R", "15", "NC16"}, pb.Film_AGE_18: {"NC-17", "18", "R21"},
	}
	code := codes[w.band]
	if w.cleared {
		code = codes[pb.Film_ALL]
	}
	return []*pb.Rating{{Market: "US", System: "MPA", Code: code[0]}, {Market: "GB", System: "BBFC", Code: code[1]}, {Market: "SG", System: "IMDA", Code: code[2]}}
}

func (w work) licenses() []*pb.License {
	kind := "online-film"
	if w.minutes < 15 {
		kind = "micro-drama-filing"
	}
	return []*pb.License{{Market: "CN", Kind: kind, Number: fmt.Sprintf("DEMO-%d-%06d", w.year, w.hash()%1_000_000)}}
}

func (w work) provenance() *pb.Provenance {
	const iptc = "http://cv.iptc.org/newscodes/digitalsourcetype/"
	source, share := "trainedAlgorithmicMedia", 0.9
	switch w.kind {
	case pb.Film_DRAMA:
		source, share = "compositeSynthetic", 0.7
	case pb.Film_DOCUMENTARY:
		source, share = "compositeWithTrainedAlgorithmicMedia", 0.5
	}
	video := []struct{ tool, version, vendor string }{{"Seedance", "1.0 Pro", "ByteDance"}, {"Veo", "3", "Google"}}[w.hash()%2]
	return &pb.Provenance{
		DigitalSourceType: iptc + source,
		Stages: []*pb.ProductionStage{
			{Stage: pb.ProductionStage_SCRIPT, AiShare: 0.2, HumanRole: "written by the director, drafts compared with a language model's"},
			{Stage: pb.ProductionStage_VIDEO, AiShare: share, Tool: video.tool, ToolVersion: video.version, Vendor: video.vendor, HumanRole: "storyboards, selection of takes"},
			{Stage: pb.ProductionStage_EDIT, AiShare: 0.1, HumanRole: "cut by hand"},
		},
		AigcLabel: &pb.AigcLabel{Raw: fmt.Appendf(nil,
			`{"AIGC":{"Label":"1","ContentProducer":"AI-Theater","ProduceID":"%s","ReservedCode1":"-","ContentPropagator":"AI-Theater","PropagateID":"%s","ReservedCode2":"-"}}`, w.id, w.id)},
	}
}

// hash is the same number for the same film on every run.
func (w work) hash() uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(w.id)) // a hash.Hash never fails
	return h.Sum32()
}
