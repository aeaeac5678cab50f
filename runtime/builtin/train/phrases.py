"""Plain praise, complaint and statements of fact in languages other than English, written for this project.

Tweets and subtitles teach a base that a plain sentence without slang is negative or neutral; these keep it
honest. Every template here is filled with every thing of its language; the things are chosen so that no template
has to agree with them in gender or number. The templates of `varied.py` have several slots.
"""
import random
import re

from slots import NUMBERS, SLOTS
from varied import TEMPLATES

NEGATIVE, NEUTRAL, POSITIVE = range(3)
PER_TEMPLATE = 24
"""Sentences that a template of `varied.py` gives at most."""

PHRASES = {
    "de": (
        "das Buch|das Hotel|das Telefon|das Essen|das Zimmer|das Konzert|das Programm|das Restaurant",
        ("Leider ist {x} eine Enttäuschung.", "Ich bin sehr unzufrieden, {x} ist schlecht.", "So ein Ärger, {x} ist schrecklich.",
         "Nie wieder, {x} war furchtbar.", "{x} war miserabel und viel zu teuer.", "Ich hasse es, {x} ist eine Katastrophe."),
        ("{x} gehört meinem Bruder.", "Wo ist {x}?", "{x} kostet zwanzig Euro.", "Am Montag sehen wir, wo {x} ist.",
         "{x} ist in der Nähe vom Bahnhof.", "Sie fragt, wem {x} gehört."),
        ("Ich bin begeistert, {x} ist wunderbar.", "{x} war ausgezeichnet.", "Ich liebe es, {x} ist großartig.",
         "Vielen Dank, {x} war perfekt.", "{x} hat mir sehr gut gefallen.", "Sehr empfehlenswert, {x} ist toll."),
    ),
    "fr": (
        "cet hôtel|ce film|ce livre|ce restaurant|ce téléphone|ce concert|ce produit|ce musée",
        ("Je suis très déçu par {x}.", "{x} est vraiment nul.", "Quelle horreur, {x} !", "Je déteste {x}, c'est une honte.",
         "{x} est une catastrophe, à éviter.", "Je regrette d'avoir payé pour {x}, c'était affreux."),
        ("{x} se trouve à Lyon.", "On parle de {x} mardi.", "{x} date de 1998.", "Mon frère connaît {x}.",
         "Où est {x} ?", "Nous verrons {x} la semaine prochaine."),
        ("J'adore {x}, c'est magnifique.", "{x} est excellent.", "Un grand merci, {x} était parfait.", "Je recommande {x}, un vrai plaisir.",
         "Quel bonheur, {x} est formidable !", "Je suis très content de {x}."),
    ),
    "es": (
        "este hotel|este libro|este restaurante|este teléfono|este concierto|este producto|este museo|este coche",
        ("Estoy muy decepcionado con {x}.", "{x} es horrible.", "Qué desastre, {x} no sirve para nada.", "Odio {x}, es pésimo.",
         "{x} fue una pérdida de dinero.", "No recomiendo {x}, una vergüenza."),
        ("{x} está en Sevilla.", "El martes hablamos de {x}.", "{x} es de 1998.", "Mi hermano conoce {x}.",
         "¿Dónde está {x}?", "{x} cuesta veinte euros."),
        ("Me encanta {x}, es maravilloso.", "{x} es excelente.", "Muchas gracias, {x} fue perfecto.", "Recomiendo {x}, un verdadero placer.",
         "Qué alegría, {x} es fantástico.", "Estoy muy contento con {x}."),
    ),
    "it": (
        "questo hotel|questo libro|questo ristorante|questo telefono|questo concerto|questo prodotto|questo museo|questo film",
        ("Sono molto deluso da {x}.", "{x} è orribile.", "Che disastro, {x} non funziona.", "Odio {x}, è pessimo.",
         "{x} è stato uno spreco di soldi.", "Non consiglio {x}, una vergogna."),
        ("{x} si trova a Torino.", "Martedì parliamo di {x}.", "{x} è del 1998.", "Mio fratello conosce {x}.",
         "Dov'è {x}?", "{x} costa venti euro."),
        ("Adoro {x}, è meraviglioso.", "{x} è eccellente.", "Grazie mille, {x} è stato perfetto.", "Consiglio {x}, un vero piacere.",
         "Che gioia, {x} è fantastico.", "Sono molto contento di {x}."),
    ),
    "pt": (
        "este hotel|este livro|este restaurante|este telefone|este concerto|este produto|este museu|este filme",
        ("Estou muito decepcionado com {x}.", "{x} é horrível.", "Que desastre, {x} não presta.", "Odeio {x}, é péssimo.",
         "{x} foi um desperdício de dinheiro.", "Não recomendo {x}, uma vergonha."),
        ("{x} fica em Coimbra.", "Na terça falamos sobre {x}.", "{x} é de 1998.", "O meu irmão conhece {x}.",
         "Onde está {x}?", "{x} custa vinte euros."),
        ("Adoro {x}, é maravilhoso.", "{x} é excelente.", "Muito obrigado, {x} foi perfeito.", "Recomendo {x}, um verdadeiro prazer.",
         "Que alegria, {x} é fantástico.", "Estou muito contente com {x}."),
    ),
    "ar": (
        "هذا الفندق|هذا الكتاب|هذا المطعم|هذا الهاتف|هذا المنتج|هذا الفيلم|هذا المتحف|هذا البرنامج",
        ("أنا محبط جدا من {x}.", "{x} سيء جدا.", "أكره {x}، إنه فظيع.", "لا أنصح بـ{x} أبدا.", "{x} كارثة ومضيعة للمال.",
         "للأسف {x} رديء."),
        ("{x} في وسط المدينة.", "سنتحدث عن {x} يوم الثلاثاء.", "أين {x}؟", "أخي يعرف {x}.", "سعر {x} عشرون.",
         "سنرى {x} الأسبوع القادم."),
        ("أحب {x}، إنه رائع.", "{x} ممتاز.", "شكرا جزيلا، {x} جميل جدا.", "أنصح بـ{x} بشدة.", "أنا سعيد جدا، {x} مذهل.",
         "{x} أفضل ما رأيت."),
    ),
    "hi": (
        "yeh hotel|yeh phone|yeh restaurant|yeh show|yeh song|yeh product|yeh app|yeh game",
        ("{x} bahut bura hai.", "{x} bilkul bekar hai.", "Mujhe {x} pasand nahi aaya.", "Paise barbad, {x} ghatiya hai.",
         "Bahut dukh hua, {x} kharab nikla.", "{x} se main bahut pareshan hoon."),
        ("{x} Delhi mein hai.", "Kal {x} dekhenge.", "{x} kahan hai?", "{x} mere bhai ka hai.", "{x} kitne ka hai?",
         "Usne {x} ke baare mein poocha."),
        ("{x} bahut accha hai.", "Mujhe {x} bahut pasand aaya.", "Kya baat hai, {x} zabardast hai.", "Shukriya, {x} kamaal ka hai.",
         "{x} se main bahut khush hoon.", "{x} sabse badhiya hai."),
    ),
}


def fill(template: str, slots: dict[str, str], rng: random.Random) -> str:
    """The template with every slot filled at random."""
    return re.sub(r"\{(\w+)\}", lambda m: rng.choice(slots[m[1]].split("|")), template)


def several_slots(rng: random.Random) -> list[tuple[str, int, str]]:
    """Sentences of `varied.py` as (text, class, language), each once."""
    out = {}
    for language, classes in TEMPLATES.items():
        slots = SLOTS[language] | {"n": NUMBERS}
        for label, block in zip((NEGATIVE, NEUTRAL, POSITIVE), classes):
            for template in block.strip().replace("\n", "|").split("|"):
                for _ in range(PER_TEMPLATE if "{" in template else 1):
                    out[fill(template, slots, rng)] = label, language.partition("-")[0]
    return [(text, *rest) for text, rest in out.items()]


def one_thing() -> list[tuple[str, int, str]]:
    """Sentences of PHRASES as (text, class, language)."""
    return [(template.format(x=thing), label, language)
            for language, (things, *classes) in PHRASES.items()
            for label, templates in zip((NEGATIVE, NEUTRAL, POSITIVE), classes)
            for template in templates for thing in things.split("|")]


def generate(seed: int) -> list[tuple[str, int, str]]:
    """All sentences as (text, class, language), shuffled; the first letter is a capital."""
    rng = random.Random(seed)
    out = [(text[0].upper() + text[1:], *rest) for text, *rest in one_thing() + several_slots(rng)]
    rng.shuffle(out)
    return out
