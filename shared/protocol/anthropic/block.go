package anthropic

import "sluice/shared/protocol/jsonscan"

// block is what is read of a content block.
type block struct {
	kind      jsonscan.Span // value of its type
	kinds     int           // how often it has a type
	base64    int           // how often it has a base64 source
	data      jsonscan.Span // of that source, with its quotes
	mediaType jsonscan.Span
}

// content reads what blocks stand in: an array of them, one of them, or a string.
// Within what is not known to the format, blocks are not known to be blocks.
func (w *walk) content(known bool) error {
	switch w.scan.Peek() {
	case jsonscan.Array:
		return w.scan.Array(func() error { return w.content(known) })
	case jsonscan.Object:
		return w.object(known)
	}
	return w.scan.Skip()
}

// block reads an element of a list of blocks.
func (w *walk) block() error { return w.content(true) }

// unknown reads a member that is not known. If it holds anything, it may hold
// references, but its media count as text.
func (w *walk) unknown() error { return w.content(false) }

func (w *walk) object(known bool) error {
	var b block
	err := w.scan.Object(func(name jsonscan.Span) error { return w.blockMember(&b, name, known) })
	if err != nil || b.base64 == 0 {
		return err
	}
	w.media(&b, known)
	return nil
}

func (w *walk) blockMember(b *block, name jsonscan.Span, known bool) error {
	switch string(jsonscan.Text(name.Of(w.body))) {
	case "type":
		at, err := w.scan.Value()
		b.kind = at
		b.kinds++
		return err
	case "source":
		return w.source(b, known)
	case "content":
		return w.content(known)
	case "cache_control":
		return w.cacheControl()
	case "file_id":
		return w.reference()
	case "text", "input", "input_schema", "input_examples", "partial_json":
		return w.scan.Skip()
	}
	return w.unknown()
}

// source reads where an image or document comes from. (The source of a search
// result is a plain string, and no reference.)
func (w *walk) source(b *block, known bool) error {
	if w.scan.Peek() != jsonscan.Object {
		return w.scan.Skip()
	}
	var kind jsonscan.Span
	var kinds, datas, types int
	err := w.scan.Object(func(name jsonscan.Span) error {
		var err error
		switch string(jsonscan.Text(name.Of(w.body))) {
		case "type":
			kind, err = w.scan.Value()
			kinds++
		case "media_type":
			b.mediaType, err = w.scan.Value()
			types++
		case "data":
			b.data, err = w.scan.Value()
			datas++
		case "content":
			err = w.content(known)
		case "file_id":
			err = w.reference()
		default:
			err = w.scan.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case kinds != 1 || datas > 1 || types > 1:
		w.external = true // decoders disagree about what it is
	case w.is(kind, "base64"):
		b.base64++
	case w.is(kind, "text"), w.is(kind, "content"):
	default:
		w.external = true
	}
	return nil
}

// media counts a block with a base64 source by its type. Whatever is not clearly
// an image or a document of a known type could cost anything.
func (w *walk) media(b *block, known bool) {
	encoded := int64(b.data.Len())
	switch {
	case !known || b.kinds != 1 || b.base64 != 1 || encoded < 2 || w.body[b.data.Start] != '"':
		w.external = true
	case w.is(b.kind, "image"):
		w.images++
		w.encoded += encoded
	case w.is(b.kind, "document") && w.is(b.mediaType, "application/pdf"):
		w.pages += encoded*3/4/pageBytes + 1
		w.encoded += encoded
	case w.is(b.kind, "document") && w.is(b.mediaType, "text/plain"):
		// Its text is shorter than its encoding, which counts already.
	default:
		w.external = true
	}
}
