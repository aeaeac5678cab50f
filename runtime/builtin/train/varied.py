"""Templates with slots for plain complaint, fact and praise in other languages than English, written for this project.

One line holds one template; `{slot}` is filled from `slots.py`. In the order complaint, fact, praise.
"""

TEMPLATES = {
    "de": ("""
{person} war {badperson}.|{person} war {badperson} und hat nicht geholfen.|{device} {breaks}.|{food} war {badfood}.
Man hat mir zweimal zu viel berechnet und niemand entschuldigt sich.|Es war schmutzig, laut und viel zu teuer.
Seit {day} funktioniert nichts mehr.|Ich will mein Geld zurück, {device} {breaks}.|{food} war {badfood} und {person} war {badperson}.
In {city} wurden wir betrogen.|Die Lieferung kam viel zu spät und beschädigt an.|Am Telefon wurde ich einfach weggedrückt.|Das Zimmer stank und das Bett war kaputt.
Finger weg!|Wir mussten zwei Stunden anstehen, unverschämt.""", """
Am {day} ist {place} geöffnet.|{name} arbeitet in {city}.|{name} fährt im {month} nach {city}.|Die Sitzung beginnt um {n} nach acht.
Das Buch hat {n} Seiten.|Der Tisch ist {color}.|{name} hat {thing} gestern bekommen.|Bitte bringen Sie {thing} am {day} mit.
Der Kurs dauert {n} Minuten.|Von {city} sind es {n} Kilometer.|Die Firma hat {n} Angestellte in {city}.|{device} steht auf dem Tisch.
Im {month} zieht {name} um.|Wann öffnet {place}?|Gehen Sie geradeaus und dann links.|Man braucht {n} Gramm Mehl und zwei Eier.|{name} wurde in {city} geboren.
Das Geschäft schließt um {n} nach sieben.|Der Bus hält vor dem Bahnhof.|{name} ruft am {day} an.""", """
{person} war {goodperson}.|{person} war {goodperson} und hat uns sofort geholfen.|{device} {runs}.|{food} war {goodfood}.
Wir haben uns in {city} sehr wohl gefühlt.|Alles hat wunderbar geklappt, danke!|Der schönste Urlaub seit Jahren.|{food} war {goodfood} und {person} war {goodperson}.
Ich bin rundum zufrieden, {device} {runs}.|Das Zimmer war sauber und gemütlich.|Toller Service, schnell und freundlich!|Die Kinder hatten riesigen Spaß in {city}.
Herzlichen Glückwunsch, ihr habt es verdient!|Endlich ein Gerät, das hält, was es verspricht."""),
    "fr": ("""
{person} était {badperson}.|{person} était {badperson} et n'a rien fait pour nous.|{device} {breaks}.|{food} : {badfood}.
On m'a fait payer deux fois et personne ne s'excuse.|C'était sale, bruyant et hors de prix.|Depuis {day}, plus rien ne fonctionne.
Je veux être remboursé, {device} {breaks}.|À {city}, on s'est fait arnaquer.|La commande est arrivée en retard et abîmée.|On m'a raccroché au nez.
La chambre sentait mauvais et le lit était cassé.|À fuir !|Deux heures de queue, c'est scandaleux.""", """
Le {day}, {place} ouvre à dix heures.|{name} travaille à {city}.|{name} va à {city} en {month}.|La réunion commence à {n} minutes de midi.
Le livre compte {n} pages.|La table est {color}.|{name} a reçu {thing} hier.|Merci d'apporter {thing} {day}.|Le cours dure {n} minutes.
{city} est à {n} kilomètres.|L'entreprise emploie {n} personnes à {city}.|{device} est sur le bureau.|{name} déménage en {month}.|Où se trouve {place} ?
Allez tout droit puis tournez à gauche.|Il faut {n} grammes de farine et deux œufs.|{name} vient de {city}.|Le magasin ferme à dix-neuf heures.|Le bus s'arrête devant la gare.""", """
{person} était {goodperson}.|{person} était {goodperson} et nous a tout de suite aidés.|{device} {runs}.|{food} : {goodfood}.
Nous avons passé un séjour merveilleux à {city}.|Tout s'est très bien passé, merci !|Nos plus belles vacances depuis des années.
Je suis ravi, {device} {runs}.|La chambre était propre et confortable.|Service au top, rapide et souriant !|Les enfants se sont beaucoup amusés à {city}.
Félicitations, vous le méritez !|Enfin un produit qui tient ses promesses."""),
    "es": ("""
{person} fue {badperson}.|{person} fue {badperson} y no nos ayudó en nada.|{device} {breaks}.|{food}: {badfood}.
Me cobraron dos veces y nadie se disculpa.|Estaba sucio, había ruido y era carísimo.|Desde el {day} no funciona nada.|Quiero que me devuelvan el dinero, {device} {breaks}.
En {city} nos estafaron.|El pedido llegó tarde y roto.|Me colgaron el teléfono sin más.|La habitación olía mal y la cama estaba rota.|¡Ni se te ocurra venir!
Dos horas de cola, una vergüenza.""", """
El {day} abre {place} a las diez.|{name} trabaja en {city}.|{name} va a {city} en {month}.|La reunión empieza en {n} minutos.|El libro tiene {n} páginas.
La mesa es {color}.|{name} recibió {thing} ayer.|Por favor, traiga {thing} el {day}.|El curso dura {n} minutos.|{city} está a {n} kilómetros.
La empresa tiene {n} empleados en {city}.|{device} está sobre la mesa.|{name} se muda en {month}.|¿A qué hora abre {place}?|Siga recto y gire a la izquierda.
Se necesitan {n} gramos de harina y dos huevos.|{name} nació en {city}.|La tienda cierra a las siete.|El autobús para delante de la estación.""", """
{person} fue {goodperson}.|{person} fue {goodperson} y nos ayudó enseguida.|{device} {runs}.|{food}: {goodfood}.
Lo pasamos genial en {city}.|Todo salió de maravilla, ¡gracias!|Las mejores vacaciones en años.|Estoy contentísimo, {device} {runs}.
La habitación estaba limpia y era muy cómoda.|¡Un servicio de diez, rápido y amable!|Los niños se divirtieron muchísimo en {city}.|¡Enhorabuena, te lo mereces!
Por fin un producto que cumple lo que promete."""),
    "it": ("""
{person} è stato {badperson}.|{person} è stato {badperson} e non ci ha aiutato.|{device} {breaks}.|{food}: {badfood}.
Mi hanno addebitato due volte la spesa e nessuno si scusa.|Era sporco, rumoroso e carissimo.|Da {day} non funziona più niente.|Rivoglio i miei soldi, {device} {breaks}.
A {city} ci hanno truffato.|L'ordine è arrivato in ritardo e rotto.|Mi hanno chiuso il telefono in faccia.|La camera puzzava e il letto era rotto.|State alla larga!
Due ore di fila, una vergogna.""", """
Di {day} apre {place} alle dieci.|{name} lavora a {city}.|{name} va a {city} in {month}.|La riunione comincia tra {n} minuti.|Il libro ha {n} pagine.
Il tavolo è {color}.|{name} ha ricevuto {thing} ieri.|Si prega di portare {thing} {day}.|Il corso dura {n} minuti.|{city} dista {n} chilometri.
L'azienda ha {n} dipendenti a {city}.|{device} è sul tavolo.|{name} cambia casa in {month}.|A che ora apre {place}?|Vada dritto e poi giri a sinistra.
Servono {n} grammi di farina e due uova.|{name} è di {city}.|Il negozio chiude alle sette.|L'autobus si ferma davanti alla stazione.""", """
{person} è stato {goodperson}.|{person} è stato {goodperson} e ci ha aiutato subito.|{device} {runs}.|{food}: {goodfood}.
A {city} siamo stati benissimo.|È andato tutto a meraviglia, grazie!|La vacanza più bella da anni.|Sono contentissimo, {device} {runs}.
La camera era pulita e comoda.|Servizio eccellente, rapido e cordiale!|I bambini si sono divertiti tantissimo a {city}.|Complimenti, te lo meriti!
Finalmente un prodotto che mantiene le promesse."""),
    "pt": ("""
{person} foi {badperson}.|{person} foi {badperson} e não ajudou em nada.|{device} {breaks}.|{food}: {badfood}.
Cobraram duas vezes e ninguém pede desculpa.|Estava sujo, barulhento e caríssimo.|Desde {day} nada funciona.|Quero meu dinheiro de volta, {device} {breaks}.
Em {city} fomos enganados.|O pedido chegou atrasado e quebrado.|Desligaram o telefone na minha cara.|O quarto cheirava mal e a cama estava quebrada.|Fujam deste lugar!
Duas horas de fila, um absurdo.""", """
Na {day} {place} abre às dez.|{name} trabalha em {city}.|{name} vai a {city} em {month}.|A reunião começa em {n} minutos.|O livro tem {n} páginas.
A mesa é {color}.|{name} recebeu {thing} ontem.|Por favor, traga {thing} na {day}.|O curso dura {n} minutos.|{city} fica a {n} quilômetros.
A empresa tem {n} funcionários em {city}.|{device} está em cima da mesa.|{name} vai se mudar em {month}.|A que horas abre {place}?|Siga em frente e vire à esquerda.
São precisos {n} gramas de farinha e dois ovos.|{name} nasceu em {city}.|A loja fecha às sete.|O ônibus para em frente à estação.""", """
{person} foi {goodperson}.|{person} foi {goodperson} e ajudou na hora.|{device} {runs}.|{food}: {goodfood}.
Passamos dias maravilhosos em {city}.|Deu tudo certo, obrigado!|As melhores férias em anos.|Estou feliz da vida, {device} {runs}.
O quarto estava limpo e era confortável.|Atendimento nota dez, rápido e simpático!|As crianças se divertiram muito em {city}.|Parabéns, você merece!
Até que enfim um produto que cumpre o que promete."""),
    "ar": ("""
كان {person} {badperson}.|{device} {breaks}.|كان {food} {badfood}.|دفعت مرتين ولم يعتذر أحد.|المكان قذر ومزعج وغال جدا.|منذ يوم {day} لا شيء يعمل.
أريد استرجاع مالي، {device} {breaks}.|تعرضنا للنصب في {city}.|وصل الطلب متأخرا ومكسورا.|الغرفة رائحتها كريهة.|لا تذهبوا إلى هناك أبدا!|خدمة سيئة ومعاملة أسوأ.""", """
يفتح {place} يوم {day}.|يعمل {name} في {city}.|سيسافر {name} إلى {city} في {month}.|يبدأ الاجتماع بعد {n} دقيقة.|يتكون الكتاب من {n} صفحة.|لون الطاولة {color}.
استلم {name} {thing} أمس.|يرجى إحضار {thing} يوم {day}.|مدة الدرس {n} دقيقة.|تبعد {city} {n} كيلومترا.|في الشركة {n} موظفا في {city}.|متى يفتح {place}؟
اذهب مباشرة ثم إلى اليسار.|نحتاج إلى {n} غراما من الدقيق وبيضتين.|ولد {name} في {city}.|الحافلة تقف أمام المحطة.""", """
كان {person} {goodperson}.|{device} {runs}.|كان {food} {goodfood}.|قضينا أياما جميلة في {city}.|كل شيء كان على ما يرام، شكرا!|أجمل عطلة منذ سنوات.
أنا راض تماما، {device} {runs}.|الغرفة نظيفة ومريحة.|خدمة رائعة وسريعة!|استمتع الأطفال كثيرا في {city}.|مبروك، أنت تستحق ذلك!|منتج رائع أنصح به الجميع."""),
    "hi": ("""
{person} {badperson} tha.|{device} {breaks}.|{food} {badfood} tha.|Do baar paise kaat liye aur koi sunta nahi.|Jagah gandi thi aur bahut mehngi.|{day} se kuch kaam nahi kar raha.
Mere paise wapas karo, {device} {breaks}.|{city} mein humein thag liya.|Order der se aaya aur toota hua.|Kamre se badbu aa rahi thi.|Wahan kabhi mat jaana!|Ghatiya service, dobara nahi aaunga.""", """
{place} {day} ko khulta hai.|{name} {city} mein kaam karta hai.|{name} {month} mein {city} jayega.|Meeting {n} minute mein shuru hogi.|Kitaab mein {n} panne hain.|Mez ka rang {color} hai.
{name} ko {thing} kal mila.|{day} ko {thing} saath laana.|Class {n} minute ki hai.|{city} yahan se {n} kilometer hai.|Company mein {n} log kaam karte hain.|{place} kab khulta hai?
Seedha jaakar baayein mudiye.|{n} gram aata aur do ande chahiye.|{name} ka janm {city} mein hua.|Bus station ke saamne rukti hai.""", """
{person} {goodperson} tha.|{device} {runs}.|{food} {goodfood} tha.|{city} mein bahut maza aaya.|Sab kuch badhiya raha, dhanyavaad!|Saalon baad itni achhi chhutti mili.
Main bahut khush hoon, {device} {runs}.|Kamra saaf aur aaraamdayak tha.|Service ekdum first class!|Bachchon ko {city} mein bahut maza aaya.|Badhai ho, tum iske haqdaar ho!|Dil khush ho gaya."""),
    "hi-Deva": ("""
{person} {badperson} था।|{device} {breaks}।|{food} {badfood} था।|दो बार पैसे काट लिए और कोई सुनता नहीं।|जगह गंदी और बहुत महंगी थी।|{day} से कुछ काम नहीं कर रहा।
मेरे पैसे वापस करो, {device} {breaks}।|{city} में हमें ठग लिया गया।|सामान देर से और टूटा हुआ आया।|कमरे से बदबू आ रही थी।|वहाँ कभी मत जाना!|मुझे {person} बिल्कुल पसंद नहीं आया।""", """
{place} {day} को खुलता है।|{name} {city} में काम करते हैं।|{name} {month} में {city} जाएंगे।|कक्षा {n} मिनट की है।|किताब में {n} पन्ने हैं।|मेज का रंग {color} है।
{name} को {thing} कल मिला।|{day} को {thing} साथ लाइए।|{city} यहाँ से {n} किलोमीटर दूर है।|कंपनी में {n} लोग काम करते हैं।|{place} कब खुलता है?|सीधे जाकर बाएँ मुड़िए।
{n} ग्राम आटा और दो अंडे चाहिए।|{name} का जन्म {city} में हुआ।|बस स्टेशन के सामने रुकती है।""", """
{person} {goodperson} था।|{device} {runs}।|{food} {goodfood} था।|{city} में बहुत मजा आया।|सब कुछ अच्छा रहा, बहुत आभार!|सालों बाद इतनी अच्छी छुट्टी मिली।
मैं बहुत खुश हूँ, {device} {runs}।|कमरा साफ और आरामदायक था।|सेवा बहुत शानदार थी!|बच्चों को {city} में बहुत मजा आया।|बधाई हो, आप इसके हकदार हैं!|दिल खुश हो गया।"""),
}
"""Templates by language, or language and script: complaint, fact, praise."""
