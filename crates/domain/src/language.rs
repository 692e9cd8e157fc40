//! Which tags mean one language: containers and playlists write `en`, `eng`, `fre` or `fra`, `pt-BR`.

/// ISO 639-1, then 639-2's terminological code, then what else was written for the same language: 639-2's
/// bibliographic code, codes that were withdrawn.
const CODES: &str = "\
aa aar, ab abk, ae ave, af afr, ak aka, am amh, an arg, ar ara, as asm, av ava, ay aym, az aze, ba bak, be bel, \
bg bul, bh bih, bi bis, bm bam, bn ben, bo bod tib, br bre, bs bos, ca cat, ce che, ch cha, co cos, cr cre, \
cs ces cze, cu chu, cv chv, cy cym wel, da dan, de deu ger, dv div, dz dzo, ee ewe, el ell gre, en eng, eo epo, \
es spa, et est, eu eus baq, fa fas per, ff ful, fi fin, fj fij, fo fao, fr fra fre, fy fry, ga gle, gd gla, gl glg, \
gn grn, gu guj, gv glv, ha hau, he heb iw, hi hin, ho hmo, hr hrv scr, ht hat, hu hun, hy hye arm, hz her, ia ina, \
id ind in, ie ile, ig ibo, ii iii, ik ipk, io ido, is isl ice, it ita, iu iku, ja jpn, jv jav jw, ka kat geo, \
kg kon, ki kik, kj kua, kk kaz, kl kal, km khm, kn kan, ko kor, kr kau, ks kas, ku kur, kv kom, kw cor, ky kir, \
la lat, lb ltz, lg lug, li lim, ln lin, lo lao, lt lit, lu lub, lv lav, mg mlg, mh mah, mi mri mao, mk mkd mac, \
ml mal, mn mon, mr mar, ms msa may, mt mlt, my mya bur, na nau, nb nob, nd nde, ne nep, ng ndo, nl nld dut, nn nno, \
no nor, nr nbl, nv nav, ny nya, oc oci, oj oji, om orm, or ori, os oss, pa pan, pi pli, pl pol, ps pus, pt por, \
qu que, rm roh, rn run, ro ron rum mo mol, ru rus, rw kin, sa san, sc srd, sd snd, se sme, sg sag, si sin, \
sk slk slo, sl slv, sm smo, sn sna, so som, sq sqi alb, sr srp scc, ss ssw, st sot, su sun, sv swe, sw swa, ta tam, \
te tel, tg tgk, th tha, ti tir, tk tuk, tl tgl, tn tsn, to ton, tr tur, ts tso, tt tat, tw twi, ty tah, ug uig, \
uk ukr, ur urd, uz uzb, ve ven, vi vie, vo vol, wa wln, wo wol, xh xho, yi yid ji, yo yor, za zha, zh zho chi, zu zul";

/// How well a track answers a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closeness {
    /// The same language; one of the two does not say which kind of it.
    Language,
    /// The same, with its region or script.
    Exact,
}

/// How well a track that says `said` answers the wish for `asked`; `None` where the languages, or their regions where
/// both say one, differ. A broadcast lists several, `eng,fra`.
pub fn closeness(asked: &str, said: &str) -> Option<Closeness> {
    said.split([',', ';']).filter_map(|said| closeness_of_tags(asked, said)).max()
}

fn closeness_of_tags(asked: &str, said: &str) -> Option<Closeness> {
    let ((asked, asked_kind), (said, said_kind)) = (parts(asked), parts(said));
    if canonical(&asked) != canonical(&said) {
        return None;
    }
    if asked_kind == said_kind {
        return Some(Closeness::Exact);
    }
    (asked_kind.is_empty() || said_kind.is_empty()).then_some(Closeness::Language)
}

/// ISO 639-2's code (the terminological one), without region or script.
pub fn three_letters(tag: &str) -> Option<String> {
    let (language, _) = parts(tag.split([',', ';']).next().unwrap_or_default());
    let is_one = |codes: &&str| codes.split(' ').any(|code| code == language);
    match CODES.split(", ").find(is_one) {
        Some(codes) => codes.split(' ').nth(1).map(str::to_owned),
        None => (language.len() == 3 && language.bytes().all(|byte| byte.is_ascii_lowercase()))
            .then_some(language),
    }
}

/// The language, and what comes after it (region, script), in lower case.
fn parts(tag: &str) -> (String, String) {
    let tag = tag.trim().to_ascii_lowercase().replace('_', "-");
    match tag.split_once('-') {
        Some((language, kind)) => (language.to_owned(), kind.to_owned()),
        None => (tag, String::new()),
    }
}

/// The two-letter code, where there is one.
fn canonical(language: &str) -> &str {
    let codes = CODES.split(", ").find(|codes| codes.split(' ').any(|code| code == language));
    codes.and_then(|codes| codes.split(' ').next()).unwrap_or(language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_codes_of_one_language_match() {
        use Closeness::{Exact, Language};
        for (asked, said, expected) in [
            ("en", "eng", Some(Exact)),
            ("de", "ger", Some(Exact)),
            ("deu", "ger", Some(Exact)),
            ("fre", "fra", Some(Exact)),
            ("zh", "chi", Some(Exact)),
            ("he", "iw", Some(Exact)),
            ("fil", "fil", Some(Exact)),
            ("tlh", "TLH", Some(Exact)),
            ("en", "fr", None),
            ("en", "und", None),
            ("en", "english", None),
            ("pt-br", "pt_BR", Some(Exact)),
            ("pt-br", "por", Some(Language)),
            ("pt", "pt-BR", Some(Language)),
            ("pt-br", "pt-PT", None),
            ("fr", "eng,fre", Some(Exact)),
            ("nn", "nb", None),
        ] {
            assert_eq!(closeness(asked, said), expected, "{asked} of {said}");
        }
    }

    #[test]
    fn every_language_has_three_letters() {
        for (said, expected) in [
            ("en", Some("eng")),
            ("pt-BR", Some("por")),
            ("ger", Some("deu")),
            ("eng,fra", Some("eng")),
            ("TLH", Some("tlh")),
            ("english", None),
            ("", None),
        ] {
            assert_eq!(three_letters(said).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn no_code_means_two_languages() {
        let mut codes: Vec<&str> = CODES.split(", ").flat_map(|codes| codes.split(' ')).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!((codes.len(), CODES.split(", ").count()), (all, 184));
        assert!(codes.iter().all(|code| matches!(code.len(), 2 | 3)), "{codes:?}");
    }
}
