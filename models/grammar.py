"""The grammar of the stories, as data: tables of entities, and plots as lists of sentences.

`stories.py` explains the notation. Names are many on purpose: whoever tells a story must look back and copy
them, for knowing a list by heart is of no use. A table may be the name of another one: then both draw from the same
entities, never the same one twice in a story.
"""


def _people(ending, he, him, his, girl, sister):
    """A name is a consonant, a vowel, a consonant and the ending that tells whether it is a girl's."""
    names = (first + vowel + middle + ending for first in "BDFGKLMNPRSTVZ" for vowel in "aeiou" for middle in "lmnrsvz")
    return [{"name": name, "he": he, "him": him, "his": his, "girl": girl, "sister": sister} for name in names]


def _things(*rows):
    return [dict(zip(("name", "use", "used"), row)) for row in rows]


def _places(*rows):
    return [{"name": name, "at": at, "spots": spots} for name, at, *spots in rows]


def _animals(*rows):
    return [dict(zip(("name", "said", "ran", "eats"), row)) for row in rows]


TABLES = {
    "hero": _people("a", "she", "her", "her", "girl", "sister") + _people("o", "he", "him", "his", "boy", "brother"),
    "friend": "hero",
    "grownup": [
        {"name": "mother", "he": "she", "him": "her", "his": "her"},
        {"name": "father", "he": "he", "him": "him", "his": "his"},
        {"name": "grandmother", "he": "she", "him": "her", "his": "her"},
        {"name": "grandfather", "he": "he", "him": "him", "his": "his"},
        {"name": "uncle", "he": "he", "him": "him", "his": "his"},
        {"name": "aunt", "he": "she", "him": "her", "his": "her"},
    ],
    "colour": "red blue green yellow white black pink brown grey purple golden silver".split(),
    "thing": _things(
        ("kite", "fly it", "flew it high over the trees"),
        ("ball", "kick it", "kicked it back and forth"),
        ("drum", "beat it", "beat it until it was dark"),
        ("boat", "sail it", "sailed it on the pond"),
        ("book", "read it", "read it from the first page to the last"),
        ("bell", "ring it", "rang it again and again"),
        ("flute", "play it", "played a merry song on it"),
        ("cart", "pull it", "pulled it up and down the road"),
        ("hat", "wear it", "wore it all day long"),
        ("sled", "ride it", "rode it down the hill"),
        ("rope", "jump over it", "jumped over it a hundred times"),
        ("puppet", "make it dance", "made it dance on the table"),
        ("swing", "hang it in a tree", "swung on it until supper"),
    ),
    "place": _places(
        ("park", "in the park", "under the bench", "behind the fountain", "near the swings"),
        ("forest", "in the forest", "under the old oak", "behind a fallen tree", "among the ferns"),
        ("beach", "on the beach", "behind the rocks", "under an empty boat", "between the dunes"),
        ("garden", "in the garden", "under the roses", "behind the shed", "near the pond"),
        ("farm", "at the farm", "in the hay", "behind the barn", "under the wagon"),
        ("river", "at the river", "under the bridge", "behind the mill", "among the reeds"),
        ("market", "at the market", "under a table", "behind the baskets", "next to the well"),
        ("castle", "at the castle", "on the tower", "under the gate", "behind the throne"),
        ("station", "at the station", "under the clock", "behind a suitcase", "next to the tracks"),
        ("school", "at the school", "under the stairs", "behind the door", "on top of the shelf"),
    ),
    "weather": [
        {"name": "sunny", "line": ["The sky was blue and the birds sang.", "The sun was warm on the grass.", "Bees hummed among the flowers."]},
        {"name": "rainy", "line": ["The road was full of puddles.", "Drops fell from every leaf.", "Thunder rolled far away."]},
        {"name": "windy", "line": ["The clouds ran across the sky.", "The trees bent and the leaves flew.", "Every door banged."]},
        {"name": "snowy", "line": ["Everything was white and quiet.", "The snow was deep and soft.", "Ice hung from the roofs."]},
        {"name": "foggy", "line": ["The houses were hidden in the mist.", "Nobody could see the hill.", "Even the bells sounded far away."]},
    ],
    "time": [
        {"name": "morning", "later": "At noon"},
        {"name": "afternoon", "later": "In the evening"},
        {"name": "evening", "later": "At night"},
    ],
    "animal": _animals(
        ("dog", "barked", "ran", "a bone"),
        ("cat", "meowed", "crept", "some fish"),
        ("duck", "quacked", "waddled", "some bread"),
        ("goat", "bleated", "leaped", "some grass"),
        ("mouse", "squeaked", "scurried", "some cheese"),
        ("pony", "neighed", "trotted", "a carrot"),
        ("frog", "croaked", "hopped", "a fly"),
        ("crow", "cawed", "flew", "a beetle"),
        ("lamb", "bleated softly", "skipped", "some clover"),
        ("hen", "clucked", "fluttered", "some corn"),
    ),
    "pet": [first + vowel + 2 * middle + "y" for first in "BDKLMPRTZ" for vowel in "aeiou" for middle in "lmnrz"],
    "trap": [
        {"name": "stuck in the mud", "tool": "plank", "how": "laid it across the mud"},
        {"name": "caught in a net", "tool": "knife", "how": "cut the net open"},
        {"name": "trapped in a deep hole", "tool": "ladder", "how": "let it down into the hole"},
        {"name": "lost on a rock in the water", "tool": "rope", "how": "threw one end to the rock"},
        {"name": "locked in an old cage", "tool": "key", "how": "opened the cage with it"},
    ],
    "food": [
        {"name": "bread", "from": ["flour", "salt", "yeast"]},
        {"name": "pancakes", "from": ["milk", "eggs", "butter"]},
        {"name": "soup", "from": ["carrots", "onions", "beans"]},
        {"name": "honey cake", "from": ["honey", "nuts", "cream"]},
        {"name": "plum pie", "from": ["plums", "sugar", "cinnamon"]},
    ],
    "seed": [
        {"name": "sunflower", "grew": "was taller than the fence", "last": "gave its seeds to the birds"},
        {"name": "pumpkin", "grew": "was as big as a wheel", "last": "cooked it for the whole street"},
        {"name": "bean", "grew": "climbed up to the window", "last": "picked a full basket"},
        {"name": "melon", "grew": "was as round as the moon", "last": "cut it into ten slices"},
        {"name": "rose", "grew": "spread all over the wall", "last": "tied the flowers into a wreath"},
    ],
    "noise": [
        {"name": "a knock", "was": "a branch that tapped on the glass", "spot": "at the window"},
        {"name": "a squeak", "was": "a little mouse with a crumb", "spot": "behind the cupboard"},
        {"name": "a rattle", "was": "a loose pot that rolled in the draft", "spot": "in the kitchen"},
        {"name": "a growl", "was": "the old dog who snored", "spot": "under the stairs"},
        {"name": "a whistle", "was": "the wind in a broken pipe", "spot": "on the roof"},
    ],
    "fear": "ghost thief monster witch bear".split(),
    "ingredient": "food.from",
    "vessel": "can bucket pot jug".split(),
    "number": "two three four five six seven".split(),
}

_ONE_DAY = "[One {weather} {time}|It was a {weather} {time} when|On a {weather} {time}]"
_SKY = "[{weather.line} |]"
_GOOD = "[kind|clever|brave|quiet|cheerful|curious]"
_WENT = "[ran|went|hurried|walked|rushed|skipped]"
_SAID = "[said|cried|shouted|called]"
_GLAD = "[hugged {friend}|jumped for joy|clapped {hero.his} hands|laughed out loud|danced in a circle|smiled from ear to ear]"

_LOST = [
    "[Once there was a {hero.girl} named {hero}, who had a {colour} {thing}.|{hero} had a {colour} {thing}, a gift from {hero.his} {grownup}.|{hero} was a " + _GOOD + " {hero.girl} with a {colour} {thing}.]",
    _ONE_DAY + " {hero} took [it|the {thing}] to the {place} to {thing.use}.",
    _SKY + "[Then|There|On the way] {hero.he} met {friend}, and they [talked|laughed|played|ran about|picked flowers] [for an hour|for a long time|until they were tired], [but when {hero} looked around, the {thing} was gone.|and {hero} forgot the {thing}.]",
    '"[Oh no!|Where is it?|This cannot be!|What shall I do?]" [cried|said|sobbed] {hero}. "I [lost|cannot find|dropped] my {colour} {thing}!"',
    '"[Do not be sad|Do not cry|Wait|Cheer up], {hero}," [said|answered] {friend}. "[I will help you|We will find it|Let us look together|It cannot be far]."',
    "First they looked {place.spots}, but there was only [a shoe|a stone|an old coin|a broken cup|a feather|a sleeping {animal}].",
    "[Then|Next|After that] they looked {place.spots}, and there [it was|was the {thing}|lay the {colour} {thing}]!",
    "{hero} " + _GLAD + '. "Thank you, {friend}! [Now we can|Come, let us|Now you may] {thing.use}[ together|]."',
    "So {hero} and {friend} {thing.used}.",
    "[From that day on, {hero} never left the {thing} alone.|{time.later} {hero} took the {colour} {thing} home and put it under {hero.his} pillow.|They have been best friends ever since.|{time.later} they ate {food} with {hero.his} {grownup}.|And {hero} wrote {hero.his} name on it.]",
]

_GIFT = [
    _ONE_DAY + " {hero} [remembered|saw|noticed|was told] that it was the birthday of {hero.his} [friend|cousin|{friend.sister}] {friend}[, who was [six|seven|eight|nine|ten] years old|].",
    '"[I must|I want to|Let me] find a gift for {friend.him}," {hero.he} [thought|said], and ' + _WENT + " to the {place} with {number} coins.",
    _SKY + "[There {hero.he} saw|{hero} found|There was] a {colour} {thing} and a {colour2} {thing2} {place.spots}.",
    "[The {thing} cost too much|The {thing} was broken|Somebody else took the {thing}|{friend} did not like {colour}], so {hero} [bought|took|chose] the {colour2} {thing2}.",
    "{hero} put it in a [box|bag|basket|sack|sock] with a {colour3} ribbon and " + _WENT + " to the house of {friend}.",
    '"[Happy birthday|This is for you|Guess what I have|Open it], {friend}!" [said|called] {hero}[ at the door|].',
    "{friend} [pulled|cut|untied] the {colour3} ribbon and [found|saw|took out] the {thing2}.",
    '"A {colour2} {thing2}! [I always wanted one!|It is just what I wished for!|How did you know?|It is beautiful!]" {friend} ' + _SAID + '. "Now I can {thing2.use} [every day|tomorrow|with you]."',
    "{time.later} they ate {food} with {friend.his} {grownup}, and [then|after that|later] they {thing2.used}.",
    "[It was the best birthday of all.|{hero} had no coins left, but {hero.he} was happy.|{friend} kept the {colour3} ribbon for many years.|\"You are a true friend,\" said {friend}.|And {friend} gave {hero} the biggest piece.]",
]

_RESCUE = [
    "[{hero} was walking home from the {place}|{hero} was {place.at} with {friend}|{hero} was alone {place.at}|{hero} was playing {place.at}] on a {weather} {time}.",
    _SKY + "[Suddenly|Then|All at once] {hero.he} heard [a small sound|a cry|something|a sad voice] {place.spots}.",
    "It was a [little|young|poor|thin|tired] {colour} {animal}, and it was {trap}.",
    '"[Help|Help me|Please help|Save me], {hero}!" {animal.said} the {animal}. "I have been here for {number} [hours|days|nights]."',
    '"[Do not be afraid|Stay still|Wait|I will help you]," [said|answered] {hero}, and ' + _WENT + " to {hero.his} {grownup} to [fetch|get|ask for|borrow] a {trap.tool}.",
    "{hero.He} [came back|hurried back|returned] with the {colour2} {trap.tool} and {trap.how}.",
    "[At last|Soon|After a while|In the end] the {animal} was free, and it {animal.ran} [around {hero.him} three times|straight into {hero.his} arms|up and down with joy|away, but came back].",
    "{hero} gave it {animal.eats} and [named it|called it] {pet}[, because it was so {colour}|, because it liked that name|].",
    "{time.later} {pet} [followed {hero} home|went home with {hero}|came along] and [slept at the foot of the bed|met {hero.his} {grownup}, who smiled|slept in a {colour3} basket|ate from a {colour3} bowl].",
    "[Since then {hero} and {pet} go everywhere together.|And whenever {hero} was sad, {pet} {animal.said} until {hero.he} laughed.|The {colour} {animal} never forgot the {colour2} {trap.tool}.|And {hero} always kept the {trap.tool} near the door.]",
]

_QUARREL = [
    "[One {time}|One day|Last summer] {hero} and {friend} [found|saw|discovered] a {colour} {thing} {place.spots} {place.at}.",
    '"[I saw it first|It is mine|Give it to me|Let go]!" ' + _SAID + ' {hero}. "I want to {thing.use}."',
    '"[No, it is mine|No, I saw it first|You always take everything|But I found it]!" ' + _SAID + " {friend}[, who wanted to {thing.use} too|, {hero.his} [best friend|neighbour|cousin]|].",
    "They [both pulled|fought|pushed each other], and the {colour} {thing} [broke in two|fell down and broke|cracked|came apart].",
    "{hero} [began to cry|became quiet|sat down|turned away], and {friend} [was sorry|looked at the ground|did not know what to say|was ashamed].",
    "[Just then|After a while|A little later] {hero.his} {grownup} came[ by|] with {number} [nails|drops of glue|pieces of string|pins] and [mended|fixed|repaired] the {thing}.",
    '"[You can share it|It can belong to both of you|Two can play with one {thing}|Friends are better than a {thing}]," said the {grownup}.',
    '"You may {thing.use} first, {friend}," said {hero}. "[And you may have it tomorrow|Then it is your turn|Thank you|I am sorry], {hero}," said {friend}.',
    "So they [took turns|shared it|made peace], and {friend} {thing.used}.",
    "[Never again did they fight over a {thing}.|The {grownup} was proud of them.|{hero} and {friend} painted the {thing} {colour2}, and now nobody sees where it was broken.|In the evening they all ate {food}.]",
]

_RUNAWAY = [
    "[{hero} had a {colour} {animal} named {pet}.|Once a {hero.girl} named {hero} had a {animal} whose name was {pet}.|{hero} lived near the {place} with a {animal} named {pet}.]",
    "[Every {time}|Each {time}] {hero} gave {pet} {animal.eats}, and {pet} {animal.said}[ happily|].",
    "But one {weather} {time} {pet} was not [there|in the yard|at home|to be seen]. [{weather.line}|The gate was open.|The fence was broken.]",
    '"{pet}! {pet}!" [called|cried|shouted] {hero}. {hero.He} asked {friend}, "Have you seen my {animal}?"',
    '"[Yes|I think so|Maybe|Oh yes]," said {friend}. "[A|One|Some] {animal} {animal.ran} [past my house|down the road|over the bridge|by] to the {place}."',
    "So {hero} " + _WENT + " to the {place} and looked {place.spots}, but {pet} was not there.",
    "{hero.He} looked {place.spots} and found only [some footprints|a tuft of hair|a chewed stick|an empty bowl].",
    "Then something {animal.said} {place.spots}. It was {pet}, with {number} [babies|little ones|tiny friends]!",
    '"[So this is why you left|You are a mother|What a surprise|I missed you], {pet}!" ' + _SAID + " {hero}, and {hero.he} [carried|took|brought] them [home|to {hero.his} {grownup}] in a {colour2} [basket|box].",
    "[{hero} kept one and gave one to {friend}.|Now the house is full, and {hero} needs a bigger bed.|{time.later} they all slept by the fire.|The smallest one was named {pet2}.|And {hero.his} {grownup} mended the gate.]",
]

_BAKING = [
    _ONE_DAY + " {hero} wanted to make {food} [with|for] {hero.his} {grownup}.",
    _SKY + '"[We need|For that we need|It takes] {food.from} and {ingredient}," said the {grownup}, "but [we have no|there is no|the {animal} ate the] {ingredient}."',
    '"[I will get some|I know where to ask|Leave it to me|Wait here]!" ' + _SAID + " {hero} and " + _WENT + " to {friend} {place.at}.",
    '"{friend}, do you have any {ingredient}?" [asked {hero}|{hero} asked]. "[Yes|Of course|I do]," said {friend}, "but first help me find my {colour} {thing}."',
    "{hero} [looked|searched] [everywhere|for an hour|here and there], and at last {hero.he} found the {thing} {place.spots}.",
    "{friend} [was glad|smiled|laughed|cheered] and gave {hero.him} {number} [bags|baskets|jars|cups] of {ingredient}.",
    "{hero} " + _WENT + " home with the {ingredient}, and the {grownup} [stirred|mixed|threw] it in.",
    "[Soon|{time.later}] they took the {food} off the fire, and [the kitchen smelled wonderful|the whole house was warm|everybody came to look].",
    '"[This is for you|Try it|Eat with us], {friend}," said {hero}, and brought {friend.him} the [first|biggest|best] piece.',
    "[In the end there was nothing left but crumbs.|They ate until they were full, and then {friend} {thing.used}.|The {grownup} wanted to make {food} every day.|And the next day they made {food2}.]",
]

_NOISE = [
    "[It was late on a {weather} evening|It was a {weather} night|It was dark], and {hero} was [in bed|awake|alone|reading] [in {hero.his} room|at home].",
    "[Suddenly|Then|All at once] {hero.he} heard {noise} {noise.spot}.",
    '"[Who is there|What is that|Did you hear that|Is it you]?" [asked|whispered] {hero}. {hero.His} [little|big|older|brave] {friend.sister} {friend} [woke up|sat up|came in].',
    '"[It is a|It must be a|Maybe it is a] {fear}!" ' + _SAID + " {friend}, and hid [under|behind] the {colour} [blanket|curtain].",
    '"[I am not afraid|We must look|I will go and see|There is no {fear}]," said {hero}. {hero.He} took the {colour2} [lamp|candle] and [went|crept|tiptoed|walked] out.',
    "[The floor was cold|It was very still|The clock struck {number}], and the shadows were [long|dark|as tall as trees|moving].",
    "{noise.Spot} {hero.he} [stopped|stood still|held {hero.his} breath] and looked.",
    "It was only {noise.was}! {hero} laughed [so loudly that {friend} came too|out loud|until {hero.he} had to sit down|and called {friend}].",
    '"[Here is your|Look at your|So this is your|Meet your] {fear}, {friend}," {hero.he} said. {friend} [laughed too|turned red|smiled|shook {friend.his} head].',
    "[Then {hero} and {friend} drank warm milk and went back to bed.|They slept until the sun came up.|In the morning they told it all to {hero.his} {grownup}.|But {friend} still thought of the {fear}.|And {hero} left the {colour2} light on.]",
]

_PLANT = [
    "[{hero} got {number} {seed} seeds in a {colour} bag from {hero.his} {grownup}.|{hero} found a {colour} bag with {number} {seed} seeds {place.spots} {place.at}.|{hero} bought {number} {seed} seeds and kept them in a {colour} bag.]",
    '"[Nothing will grow from that|They are too small|Those are too old|That takes too long]," said {friend}, but {hero} [did not listen|only smiled|believed in them|had a plan].',
    "One {weather} {time} {hero.he} [dug|made] a hole {place2.spots} {place2.at} and put the seeds in.",
    "[Every|Each] {time} {hero} [brought|carried|fetched] water in a {colour2} {vessel}.",
    "[Days|Weeks|Many days] went by, and [nothing happened|there was only earth|a {animal} dug in the ground]. {hero} [was sad|waited|watched], but {hero.he} [did not stop|went on|kept hoping].",
    "Then a [little|tiny|thin] green [leaf|tip|shoot|stem] [came up|looked out of the ground|appeared]. {hero} [danced|jumped|sang|shouted] with joy.",
    "It grew and grew, and [in the end|by the end of summer|one day] the {seed} {seed.grew}.",
    '"[I was wrong, {hero}!|How did you do it, {hero}?|It is beautiful, {hero}!|I cannot believe it!]" said {friend}. "[I waited|I gave it water|I did not give up|It was easy]," said {hero}.',
    "Then {hero} and {friend} {seed.last}.",
    "[The next year {friend} asked for a {seed} seed too.|{hero} kept the {colour} bag and put new seeds in it.|And the {colour2} {vessel} still stands {place2.at}.|And the {grownup2} of {friend} made {food} for all.]",
]

PLOTS = [_LOST, _GIFT, _RESCUE, _QUARREL, _RUNAWAY, _BAKING, _NOISE, _PLANT]
