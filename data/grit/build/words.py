"""Lists of words that decide what of a caption could be found in a picture.

The paper drops "abstract noun phrases that are challenging to ground, such as
time, love, and freedom" and tells no list; these were compiled by hand. They
hold single words of lower case, nouns in the singular; `is_one_of` also knows
their plurals.
"""

import re


def _words(text: str) -> frozenset[str]:
  return frozenset(text.split())


# Nouns that name nothing with an outline in a picture.
ABSTRACT = _words(
  # Time: parts of it, days, months, feasts.
  "time day night morning afternoon evening noon midnight dawn dusk today"
  " tomorrow yesterday tonight second minute hour week weekend month year"
  " decade century era age moment season spring summer autumn winter"
  " monday tuesday wednesday thursday friday saturday sunday january february"
  " march april may june july august september october november december"
  " christmas easter halloween thanksgiving birthday anniversary holiday"
  " vacation future past present history beginning period schedule date"
  # Feelings, states and qualities.
  " love freedom happiness joy fun sadness anger fear hope peace luck pride"
  " passion emotion feeling mood dream desire faith trust friendship"
  " relationship romance beauty elegance luxury comfort health wellness"
  " fitness strength power energy speed stress pain illness disease life"
  " death birth youth childhood silence safety security danger risk truth"
  " justice wisdom knowledge success failure wealth poverty attention"
  " support help care style fashion trend look glamour quality condition"
  " standard value importance variety diversity balance harmony"
  # Thoughts, texts as contents, business.
  " idea concept thought opinion theme topic subject theory science"
  " education learning lesson research study culture religion politics"
  " philosophy economy business industry market marketing finance trade"
  " management service job work career project plan strategy process system"
  " method technology technique information data content detail fact news"
  " review tip advice tutorial inspiration description meaning question"
  " answer problem solution reason purpose choice option decision rule law"
  " right policy language name title word story tale episode chapter"
  " version edition release update series brand company price cost sale"
  " discount offer deal shipping delivery stock order purchase payment"
  " budget range selection kind sort type category class rating rank level"
  # Events and acts.
  " event party wedding ceremony celebration festival concert show"
  " performance exhibition conference meeting game match competition"
  " championship tournament race season training practice exercise workout"
  " activity action movement travel trip journey tour visit adventure"
  " experience walk run ride flight war battle accident incident crime"
  " attack strike election campaign ritual tradition interview"
  " speech conversation discussion talk use usage way"
  # Measures, looks and weather that lie over all of a picture.
  " size length width height weight depth volume temperature degree percent"
  " percentage amount quantity color colour hue tone texture shape form"
  " design decor layout format resolution dimension pattern"
  " weather climate rainfall heat cold daylight darkness air wind"
  " atmosphere ambience sound noise music song smell scent taste flavor"
  " flavour silence contrast focus motion composition"
  # Places that every picture has, or that have no border.
  " background foreground backdrop distance surroundings"
  " surrounding environment nature outdoors outside inside direction place"
  " location position area region space world"
)

# Parts of the picture or of a thing, when nothing but these words says more:
# "on top of", "the left side"; but "a red top" is a thing.
LOCATIONS = _words(
  "top bottom front back rear side left right middle center centre end edge"
  " corner half rest part inside outside"
)
# Which leave a location one.
PLAIN = _words(
  "a an the this that its his her their our my your one each every either both"
  " all other another opposite left right top bottom upper lower far near very"
  " front back same hand"
)

# The picture itself, and kinds of it.
FRAMES = _words(
  "photo photograph picture image pic shot close-up closeup snapshot"
  " screenshot photography footage video still thumbnail wallpaper"
  " illustration drawing painting sketch portrait rendering render vector"
  " clipart depiction scene view selfie artwork watercolor watercolour"
  " caricature cartoon collage montage gif jpeg jpg png"
)
# "This picture shows a dog".
SHOWING = _words(
  "show shows showing showed shown depict depicts depicting depicted feature"
  " features featuring featured capture captures capturing captured display"
  " displays displaying displayed illustrate illustrates illustrating contain"
  " contains containing include includes including portray portrays"
  " portraying is are was were taken has"
)
# After these a picture is a thing: "a picture on the wall".
PLACED = _words(
  "on above over behind under below beneath near beside against between"
)

# Which the parser takes for nouns at times.
PRONOUNS = _words(
  "someone somebody something anyone anybody anything everyone everybody"
  " everything noone nobody nothing none one other another all both each some"
  " many several few most such this that these those who whom whose which what"
  " whatever whoever i you he she it we they me him us them mine yours hers"
  " ours theirs myself yourself himself herself itself ourselves themselves"
)

# With "of" they count or heap what follows, which is what is seen: "a pair of
# shoes" has the box of the shoes. A cup of coffee is a cup.
MEASURES = _words(
  "pair couple group bunch lot number set row line pile stack heap herd flock"
  " pack swarm school crowd team series collection assortment array variety"
  " selection range cluster dozen hundred thousand million handful piece"
  " slice bit kind sort type load ton plenty majority trio duo gang flight"
)

# Whoever looks for pornography names it by these; one is enough to refuse a
# caption. Words with an innocent use (naked, sexy, nude as a colour, adult)
# are not here, nor insults, which captions of harmless pictures have too.
UNSAFE = _words(
  "porn porno porns pornos pornographic pornography pornstar pornstars xxx"
  " nsfw hentai blowjob blowjobs handjob handjobs gangbang gangbangs cumshot"
  " cumshots milf milfs camgirl camgirls upskirt upskirts deepthroat bukkake"
  " anal dildo dildos masturbating masturbation masturbates fuck fucking"
  " fucked fucks pussy pussies bdsm creampie fetish orgy orgies threesome"
  " erotica tits boobs titties cunt cunts slut sluts whore whores"
  " childporn loli lolicon shota rape raped rapes bestiality incest"
)

# Read as English where two of them are met; none is common in a language that
# is written with the same letters.
ENGLISH = _words(
  "the with and of from for this that these those his her their its our your"
  " are was were has have been who which what where when by through between"
  " behind under over into onto near holding wearing standing sitting"
)
# One of these says that the caption is more likely English than not.
ENGLISH_OR_NOT = ENGLISH | _words("a an in on at to is as it or up")

# Addresses, tags, names of files: words that are none.
ADDRESS = re.compile(
  r"https?:|www\.|[#@]\w|\w@\w|\w_\w|\w\.(?:com|net|org|co|info|biz|de|uk|ru"
  r"|html?|php|jpe?g|png|gif|webp|bmp|tiff?|svg|pdf|mp4|mov)\b",
  re.IGNORECASE,
)


def is_one_of(noun: str, table: frozenset[str]) -> bool:
  """Whether the noun, or what it seems to be the plural of, is in the table.

  The noun is of lower case.
  """
  if noun in table:
    return True
  if not noun.endswith("s"):
    return False
  if noun[:-1] in table:
    return True
  if noun.endswith("ies"):
    return noun[:-3] + "y" in table
  return noun.endswith("es") and noun[:-2] in table
