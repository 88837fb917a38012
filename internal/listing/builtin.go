package listing

import pb "github.com/aitheater/theater/api/theater/v1"

// builtin holds the layouts and sections that ship with the program, by name. A stored one of
// the same name takes its place.
type builtin struct {
	layouts  map[string]*pb.Layout
	sections map[string]*pb.Section
}

func newBuiltin() builtin {
	b := builtin{layouts: map[string]*pb.Layout{}, sections: map[string]*pb.Section{}}
	for _, l := range Layouts() {
		b.layouts[l.GetName()] = l
	}
	for _, s := range Sections() {
		b.sections[s.GetName()] = s
	}
	return b
}

// Layouts gives the built-in layouts: "layouts/home" and "layouts/kids". The messages are the
// caller's.
func Layouts() []*pb.Layout {
	return []*pb.Layout{
		{Name: "layouts/home", Sections: []string{
			"sections/hot", "sections/rising", "sections/new", "sections/top-rated", "sections/animation",
			"sections/drama", "sections/documentary", "sections/most-watched", "sections/shorts",
		}},
		{Name: "layouts/kids", Sections: []string{
			"sections/kids-hot", "sections/kids-little", "sections/kids-animation", "sections/kids-new", "sections/kids-shorts",
		}},
	}
}

// forChildren keeps the sections of the page for children to films that were cleared for them,
// also where an adult looks at that page.
const forChildren = `minors_review:* AND age_band <= AGE_12`

// Sections gives the sections the built-in layouts name. The messages are the caller's.
func Sections() []*pb.Section {
	const newest = "release_date desc"
	kids := &pb.Targeting{Audiences: []pb.Viewer_Audience{pb.Viewer_KIDS}}
	return []*pb.Section{
		{Name: "sections/hot", Title: both("正在热播", "Hot right now"), Layout: pb.Section_HERO, Source: fromChart("hot")},
		{Name: "sections/rising", Title: both("飙升榜", "On the rise"), Layout: pb.Section_ROW, Source: fromChart("rising")},
		{Name: "sections/new", Title: both("新片上线", "New arrivals"), Layout: pb.Section_ROW, Source: fromChart("new")},
		{Name: "sections/top-rated", Title: both("高分佳作", "Top rated"), Layout: pb.Section_ROW, Source: fromChart("top-rated")},
		{Name: "sections/most-watched", Title: both("观看最多", "Most watched"), Layout: pb.Section_ROW, Source: fromChart("most-watched")},
		{Name: "sections/animation", Title: both("动画", "Animation"), Layout: pb.Section_ROW, Source: fromRule(`content_type = ANIMATION`, newest)},
		{Name: "sections/drama", Title: both("剧情", "Drama"), Layout: pb.Section_ROW, Source: fromRule(`content_type = DRAMA`, newest)},
		{Name: "sections/documentary", Title: both("纪录片", "Documentaries"), Layout: pb.Section_ROW, Source: fromRule(`content_type = DOCUMENTARY`, newest)},
		{Name: "sections/shorts", Title: both("短片", "Short films"), Layout: pb.Section_GRID, MinForm: pb.Film_SHORT, Source: fromRule(`form = SHORT`, newest)},
		{Name: "sections/kids-hot", Title: both("小朋友都在看", "What children are watching"), Layout: pb.Section_HERO, Source: fromChart("hot"), Targeting: kids},
		{Name: "sections/kids-little", Title: both("给最小的观众", "For the youngest"), Layout: pb.Section_ROW, Source: fromRule(`minors_review:* AND age_band <= AGE_3`, newest)},
		{Name: "sections/kids-animation", Title: both("动画乐园", "Cartoons"), Layout: pb.Section_GRID, Source: fromRule(`content_type = ANIMATION AND `+forChildren, newest)},
		{Name: "sections/kids-new", Title: both("新来的故事", "New stories"), Layout: pb.Section_ROW, Source: fromRule(forChildren, newest)},
		{Name: "sections/kids-shorts", Title: both("短片时间", "Little films"), Layout: pb.Section_ROW, MinForm: pb.Film_SHORT, Source: fromRule(`form = SHORT AND `+forChildren, newest)},
	}
}

func both(zh, en string) map[string]string { return map[string]string{"zh": zh, "en": en} }

func fromChart(id string) *pb.Section_Chart {
	return &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/" + id}}
}

func fromRule(filter, order string) *pb.Section_Rule {
	return &pb.Section_Rule{Rule: &pb.RuleSource{Filter: filter, OrderBy: order}}
}
