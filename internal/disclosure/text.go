package disclosure

// Languages are the tags of the languages there are texts in. The first is the one for all
// others.
var Languages = []string{"en", "zh-Hans", "zh-Hant", "de", "fr", "ja", "ko", "es", "pt"}

// chinese is the index of the language that CN asks for.
const chinese = 1

// texts are what is said of each class, in the order of Languages. The Chinese ones hold the
// words GB 45438 asks for: 人工智能 or AI, and 生成 or 合成.
var texts = [classes]struct {
	key string
	in  [9]string
}{
	Generated: {"ai-generated", [9]string{
		"AI-generated", "AI生成", "AI生成", "KI-generiert", "Généré par IA", "AI生成", "AI 생성", "Generado por IA", "Gerado por IA",
	}},
	Composite: {"ai-composite", [9]string{
		"Contains AI-generated material", "含AI生成合成内容", "含AI生成合成內容", "Enthält KI-generiertes Material", "Contient des éléments générés par IA",
		"AI生成の素材を含む", "AI 생성 요소 포함", "Contiene material generado por IA", "Contém material gerado por IA",
	}},
	Possible: {"ai-possible", [9]string{
		"May be AI-generated", "可能由AI生成", "可能由AI生成", "Möglicherweise KI-generiert", "Peut-être généré par IA",
		"AI生成の可能性あり", "AI 생성 가능성 있음", "Posiblemente generado por IA", "Possivelmente gerado por IA",
	}},
	Suspected: {"ai-suspected", [9]string{
		"Suspected to be AI-generated", "疑似AI生成", "疑似AI生成", "Vermutlich KI-generiert", "Soupçonné d’être généré par IA",
		"AI生成の疑いあり", "AI 생성 의심", "Se sospecha generado por IA", "Suspeita de ser gerado por IA",
	}},
	Assisted: {"ai-assisted", [9]string{
		"Made with the help of software", "借助软件制作，未声明AI生成内容", "借助軟體製作，未聲明AI生成內容", "Mit Hilfe von Software gemacht", "Réalisé à l’aide de logiciels",
		"ソフトウェアの支援による制作", "소프트웨어의 도움으로 제작", "Hecho con ayuda de software", "Feito com ajuda de software",
	}},
	Captured: {"no-ai-declared", [9]string{
		"No AI-generated material declared", "未声明含AI生成内容", "未聲明含AI生成內容", "Kein KI-generiertes Material angegeben", "Aucun élément généré par IA déclaré",
		"AI生成素材の申告なし", "AI 생성 요소 신고 없음", "Sin material generado por IA declarado", "Nenhum material gerado por IA declarado",
	}},
}
